"""Gives every request and WebSocket an id that its answer, its problem and its log lines carry."""

from __future__ import annotations

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import request_id

HEADER = "X-Request-ID"
_HAVE_HEADERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestIdMiddleware:
    """Takes the caller's ``X-Request-ID`` where it is sane, makes one otherwise, and echoes it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        identity = given if _SANE.fullmatch(given) else uuid.uuid4().hex
        scope["request_id"] = identity

        async def send_with_id(message: Message) -> None:
            if message["type"] in _HAVE_HEADERS:
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[HEADER] = identity
            await send(message)

        token = request_id.set(identity)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            request_id.reset(token)
