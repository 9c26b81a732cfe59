"""The last resort: a bug gets a line in the log with its traceback, and the caller a plain 500 problem or 1011."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import Problem

logger = logging.getLogger(__name__)

_INTERNAL_ERROR = 1011


class ErrorsMiddleware:
    """Turns any exception that nothing else handled into a 500 problem without a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "websocket":
            await self._call_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception:
            logger.exception("unhandled error", extra={"method": scope["method"], "path": scope["path"]})
            if started:  # the answer is half sent: only breaking the connection tells the caller
                raise
            await _bug().response(scope.get("request_id"))(scope, receive, send)

    async def _call_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same for a WebSocket; one that is open already is closed with 1011."""
        sent = ""

        async def watched_send(message: Message) -> None:
            nonlocal sent
            sent = message["type"]
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except OSError:  # how servers say that the client is gone
            raise
        except Exception:
            logger.exception("unhandled error", extra={"path": scope["path"]})
            if not sent and "websocket.http.response" in scope.get("extensions", {}):
                await _bug().response(scope.get("request_id"))(scope, receive, send)
            elif sent in ("", "websocket.accept", "websocket.send"):
                await send({"type": "websocket.close", "code": _INTERNAL_ERROR, "reason": "internal-error"})


def _bug() -> Problem:
    return Problem(500, "internal-error", "This is a bug. The request's id finds it in the service's log.")
