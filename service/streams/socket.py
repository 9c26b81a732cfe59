"""WebSockets as uvicorn does them, mended where a client that doesn't behave could hold something up.

- A connection that is to be closed ends, whether the client reads what it was sent or not.
- After an error the client gets the close frame: the rest of what it sends is read and thrown away first, since
  closing a socket with unread data in it resets the connection, close frame and all.
- A client that sends pings and reads no pongs, or a message in millions of pieces, fills no memory.
- Nothing that a client sends makes a traceback in the log, or leaves a connection without an answer.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from service.streams.closing import CloseCode as StreamCode
from service.streams.pace import Allowance

_CLOSE_SECONDS = 5.0
"""How long a client gets to answer a close frame."""

_UNREAD_SECONDS = 1.0
"""How long one gets to read what was written before the connection is closed."""

_TINY = 128
"""Bytes. Parsing a frame costs the same whatever is in it, so those with next to nothing are counted."""

_TINY_BURST, _TINY_RATE = 1000, 100.0  # frames at once, and a second


class EndingTransport:
    """A transport that is gone soon after it was closed, read or not.

    Args:
        transport: the real one.
        loop: it belongs to.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._aborting: asyncio.TimerHandle | None = None
        self._lost = False
        self._ended = False
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Send, as long as that can be done."""
        if not self._ended:
            self._transport.write(data)

    def close(self) -> None:
        """Close as soon as everything is written; throw away what is not by then."""
        self._transport.close()
        if self._aborting is None and not self._lost:
            self._aborting = self._loop.call_later(_UNREAD_SECONDS, self._transport.abort)

    def end_writing(self) -> None:
        """Tell the other side that nothing follows, where that can be done; what it sends is still read."""
        if not self._ended and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._ended = True

    def lost(self) -> None:
        """The connection is gone; there is nothing left to abort."""
        self._lost = True
        if self._aborting is not None:
            self._aborting.cancel()


class StreamProtocol(WebSocketsSansIOProtocol):
    """What ``uvicorn.Config(ws=...)`` takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = _CLOSE_SECONDS
        self._tiny = Allowance(_TINY_BURST, _TINY_RATE)
        self._deaf = False  # what comes now is thrown away
        self._closed_by_app = False

    def connection_made(self, transport: BaseTransport) -> None:
        """The connection is there."""
        super().connection_made(transport)
        self._ending = EndingTransport(cast(asyncio.Transport, transport), self.loop)
        self.transport = cast(asyncio.Transport, self._ending)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; without a close frame that is 1006."""
        if self.conn.close_rcvd is None and not self.close_sent:
            self._tell_disconnected(CloseCode.ABNORMAL_CLOSURE, "")
        super().connection_lost(exc)
        self._ending.lost()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._deaf:
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_request()

    def handle_ping(self) -> None:
        """A ping."""
        self._count_tiny()
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # a pong that nobody would read

    def handle_pong(self, event: Frame) -> None:
        """A pong."""
        self._count_tiny()
        super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """A piece of a message, other than the first."""
        if len(event.data) < _TINY:
            self._count_tiny()
        if self._deaf:
            return
        message = self.frames[0] if isinstance(self.frames[0], bytearray) else bytearray(self.frames[0])
        message += event.data
        self.frames = [cast(bytes, message)]
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames[0]):
            self._fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
        else:
            super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Tell the client what was wrong with its bytes, and stop listening to it."""
        if not self.handshake_complete:  # it could not wait for the answer
            self._tell_disconnected(CloseCode.ABNORMAL_CLOSURE, "")
            self._refuse_request()
            return
        if not self.close_sent and self.conn.close_sent is not None:
            self._tell_disconnected(self.conn.close_sent.code, self.conn.close_sent.reason)
        self.close_sent = True
        self._deaf = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._ending.end_writing()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is None:
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def keepalive_timeout(self) -> None:
        """The client has answered no ping."""
        if not self.close_sent:
            self._tell_disconnected(CloseCode.INTERNAL_ERROR, "no pong")
        super().keepalive_timeout()

    def shutdown(self) -> None:
        """The server stops. A client that was sent a close frame may still answer it, so that it arrives."""
        if self.close_timer is None:
            super().shutdown()
            return
        self.stop_keepalive()
        self.close_timer.cancel()
        self.close_timer = self.loop.call_later(_UNREAD_SECONDS, self.transport.close)

    async def send(self, message: Any) -> None:
        """What the application sends.

        Raises:
            ClientDisconnected: the client is gone, or has been closed for what it sent.
        """
        if self.close_sent and not self._closed_by_app:
            raise ClientDisconnected
        if message["type"] == "websocket.close":
            self._closed_by_app = True
            if not self.writable.is_set():
                self.writable.set()  # one small frame more; waiting for a client that doesn't read may take for ever
                self.close_timeout = 0.0
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # with a refusal; the base class would log an error

    def _fail(self, code: int, reason: str) -> None:
        if not self._deaf:
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def _count_tiny(self) -> None:
        if not self._tiny.take():
            self._fail(StreamCode.TOO_MANY, "too-many-messages: there were too many tiny frames")

    def _refuse_request(self) -> None:
        """Answer a handshake that could not be read. The base class would leave it without an answer."""
        answer = b"".join(self.conn.data_to_send())
        text = "Failed to open a WebSocket connection: did not receive a valid HTTP request.\n"
        self.transport.write(answer or self.conn.reject(400, text).serialize())
        self.handshake_initiated = self.handshake_complete = self.close_sent = self._deaf = True
        self.transport.close()

    def _tell_disconnected(self, code: int, reason: str) -> None:
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})


def _is_utf8(data: bytes | bytearray | memoryview) -> bool:
    try:
        bytes(data).decode()
    except UnicodeDecodeError:
        return False
    return True
