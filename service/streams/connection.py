"""A stream's WebSocket: what is sent and received, within the times that are allowed for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from service.problems import Problem
from service.streams.closing import CloseCode
from service.streams.ending import ClientGone, StreamEnd
from service.streams.header import Header, Kind
from service.streams.messages import Encoding, OptionsChanged, StreamError, StreamResult, Welcome

_LAST_WORDS = 1.0  # seconds a client gets to take the message that says why the stream ends

_GONE = (WebSocketDisconnect, WebSocketDisconnected, OSError)  # by whatever server


class Connection:
    """An accepted WebSocket of the protocol.

    Args:
        socket: the accepted WebSocket.
        send_seconds: how long the client may leave what it is sent unread.

    Attributes:
        encoding: of what is sent.
    """

    def __init__(self, socket: WebSocket, send_seconds: float) -> None:
        self._socket = socket
        self._send_seconds = send_seconds
        self.encoding: Encoding = "json"

    async def receive(self, seconds: float, missing: str) -> str | bytes:
        """The next message, text or binary.

        Args:
            seconds: how long it may take.
            missing: what is told the client that took longer.

        Raises:
            ClientGone: there is none to come. StreamEnd: it took too long.
        """
        try:
            async with asyncio.timeout(seconds):
                message = await self._socket.receive()
        except TimeoutError:
            raise StreamEnd(CloseCode.TIMEOUT, Problem(408, "timeout", missing)) from None
        except _GONE:
            raise ClientGone(1006) from None
        if message["type"] == "websocket.disconnect":
            raise ClientGone(message.get("code") or 1005)
        return _content(message)

    async def send(self, message: Welcome | OptionsChanged | StreamResult | StreamError) -> None:
        """Send a message; a result's picture in the way of the encoding.

        Raises:
            ClientGone: nobody is there any more. StreamEnd: the client has not read for too long.
        """
        async with self._within_time():
            if self.encoding == "msgpack":
                await self._socket.send_bytes(_pack(message))
                return
            await self._socket.send_text(message.model_dump_json(exclude={"picture"}))
            if isinstance(message, StreamResult) and message.picture is not None:
                header = Header(Kind.DRAWN, message.index, message.timestamp)
                await self._socket.send_bytes(header.pack() + message.picture)

    async def end(self, end: StreamEnd, last: StreamError) -> None:
        """Say why the stream ends, as far as the client listens, and close."""
        try:
            if not end.unread:
                async with asyncio.timeout(_LAST_WORDS):
                    await self.send(last)
        except (ClientGone, StreamEnd, TimeoutError):
            pass
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self._socket.close(end.code, end.reason)
        except (*_GONE, TimeoutError):
            pass

    @asynccontextmanager
    async def _within_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._send_seconds):
                yield
        except TimeoutError:
            detail = f"The client has not read what it was sent for {self._send_seconds:g} seconds."
            raise StreamEnd(CloseCode.TIMEOUT, Problem(408, "unread", detail), unread=True) from None
        except _GONE:
            raise ClientGone(1006) from None


def _content(message: Message) -> str | bytes:
    text = message.get("text")
    return cast(bytes, message["bytes"]) if text is None else cast(str, text)


def _pack(message: Welcome | OptionsChanged | StreamResult | StreamError) -> bytes:
    import msgpack

    left_out: set[str] = {"picture"} if getattr(message, "picture", None) is None else set()
    values: dict[str, Any] = message.model_dump(exclude=left_out)
    return cast(bytes, msgpack.packb(values))  # bytes, unless a stream to write to is given
