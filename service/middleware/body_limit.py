"""Refuses bodies over the limit: by their declared length at once, otherwise while they stream in."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import body_too_large


class BodyLimitMiddleware:
    """Counts the bytes of each body as they arrive; a body of exactly `limit` bytes passes.

    Args:
        app: what is behind it.
        limit: in bytes.
        exempt: paths of routes that have a limit of their own.
    """

    def __init__(self, app: ASGIApp, limit: int, exempt: Collection[str] = ()) -> None:
        self.app = app
        self.limit = limit
        self.exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http" or scope["path"] in self.exempt:
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limit:
            problem = body_too_large(self.limit)
            await problem.response(scope.get("request_id"))(scope, receive, send)
            return
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:  # raised into the route, which hands it to the handler of problems
                raise body_too_large(self.limit)
            return message

        await self.app(scope, limited_receive, send)
