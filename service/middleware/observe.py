"""Counts and logs every request once it is answered, and WebSockets that are refused."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics
from service.problems import CLIENT_GONE

logger = logging.getLogger("service.access")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SWITCHED, _FORBIDDEN = 101, 403
_OPENED = {"websocket.accept": _SWITCHED, "websocket.close": _FORBIDDEN}  # what the client gets instead of an answer
_QUIET = ("/health/", "/metrics", "/static/")


class ObserveMiddleware:
    """The access log and the request metrics. Probes and static files are logged at debug level only."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "websocket":
            await self._call_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        seen = {"status": CLIENT_GONE, "bytes_in": 0, "bytes_out": 0}

        async def counted_receive() -> Message:
            message = await receive()
            seen["bytes_in"] += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
            seen["bytes_out"] += len(message.get("body", b""))
            await send(message)

        self.metrics.in_flight.inc()
        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            self.metrics.in_flight.dec()
            self._record(scope, time.perf_counter() - start, seen)

    async def _call_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A refusal is logged as a request; a stream logs itself when it is over."""
        start = time.perf_counter()
        seen = {"status": CLIENT_GONE}

        async def watched_send(message: Message) -> None:
            if seen["status"] == CLIENT_GONE:  # the first one counts
                seen["status"] = message.get("status", _OPENED.get(message["type"], CLIENT_GONE))
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        finally:
            request = {**scope, "method": "GET"}
            if seen["status"] == _SWITCHED:
                self.metrics.requests.labels(*_labels(request), str(_SWITCHED)).inc()
            else:
                self._record(request, time.perf_counter() - start, seen)

    def _record(self, scope: Scope, seconds: float, seen: dict[str, int]) -> None:
        method, route = _labels(scope)
        self.metrics.requests.labels(method, route, str(seen["status"])).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        quiet = scope["path"].startswith(_QUIET) and seen["status"] < 400
        fields: dict[str, Any] = {"method": scope["method"], "path": scope["path"], **seen}
        fields["duration_ms"] = round(seconds * 1000, 2)
        logger.log(logging.DEBUG if quiet else logging.INFO, "request", extra=fields)


def _labels(scope: Scope) -> tuple[str, str]:
    """Method and route's pattern, never what was sent: a scanner must not create a time series per guess."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    fallback = "static" if scope["path"].startswith("/static/") else "unmatched"
    return method, getattr(scope.get("route"), "path", fallback)
