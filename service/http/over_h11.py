"""uvicorn's protocol over h11, which does not wait for headers for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.http.deadline import Deadline


class PunctualH11Protocol(H11Protocol):
    """Closes a connection that leaves it waiting for headers.

    Args:
        header_seconds: from the connection, or the first byte of a later request, to the end of the headers.
    """

    def __init__(self, *args: Any, header_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = Deadline(self.loop, header_seconds, self._headers_are_late)

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
        super().data_received(data)
        self._deadline.set(self.conn.their_state is h11.IDLE and not self.transport.is_closing())

    def _headers_are_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            self._deadline.set(True)  # the request before is still being answered
        else:
            self.transport.abort()
