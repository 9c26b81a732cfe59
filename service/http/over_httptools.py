"""uvicorn's protocol over httptools, which does not wait for headers for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http.deadline import Deadline


class PunctualHttpToolsProtocol(HttpToolsProtocol):
    """Closes a connection that leaves it waiting for headers.

    Args:
        header_seconds: from the connection, or the first byte of a later request, to the end of the headers.
    """

    def __init__(self, *args: Any, header_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = Deadline(self.loop, header_seconds, self._headers_are_late)
        self._due = True
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection is there."""
        super().connection_made(transport)
        self._deadline.set(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._deadline.set(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._due = not self._in_body  # those between two requests begin the next one's headers
        super().data_received(data)
        self._deadline.set(self._due and not self.transport.is_closing())

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._due = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers of a request are there."""
        self._due, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there as well, if there is one."""
        self._in_body = False
        super().on_message_complete()

    def _headers_are_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            self._deadline.set(True)  # the request before is still being answered
        else:
            self.transport.abort()
