"""One stream of a client that may say anything, and that holds the service to the protocol meanwhile."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import msgpack

from service.streams.header import HEADER_BYTES, MOST_SEQUENCE, Header, HeaderError, Kind
from service.streams.messages import (
    DEFAULT_CREDITS,
    SERVER_MESSAGE,
    Acknowledgement,
    OptionsChanged,
    StreamError,
    StreamResult,
    Welcome,
)
from tests.fake_engine import discs, person_at
from tests.photos import encode
from tests.websocket_bytes import Connection, Frame, Opcode, pack, request

Message = Welcome | OptionsChanged | StreamResult | StreamError
HELLO = '{"type": "hello", "resolution": "fast"}'
NO_CODE = 1005
"""Stands for a close frame without a code."""

ENDINGS = frozenset({1000, 1002, 1007, 1009, 1013, 4400, 4408, 4409, 4429})
"""How a stream may end for what its client did. Not among them: 1011, a bug of the service, and 1012, its end."""
_ECHOES = frozenset({1001, 1003, NO_CODE, *range(1008, 1011), *range(3000, 5000)})
"""Codes that a client may close with, which it is answered with."""


class End(NamedTuple):
    """The service ended the stream with this code; None: it hung up without one."""

    code: int | None
    reason: str


@cache
def small_jpeg() -> bytes:
    """A person in 96 x 72."""
    return encode(discs(96, 72, person_at(50, 45, 30), 6), "jpeg")


class Talk:
    """A connection that knows what it has sent, and checks all that it is told.

    Attributes:
        connection: for saying something that is no message.
        under_way: pictures that were sent and not acknowledged, by sequence number.
        acknowledged: how many were.
        end: once the service ended it.
        rude: set by who broke the WebSocket itself, so that the service may hang up without a close frame.
    """

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self.under_way: set[int] = set()
        self.acknowledged = 0
        self.end: End | None = None
        self.rude = False
        self._packed = False
        self._credits = DEFAULT_CREDITS
        self._drawing = False
        self._drawn_follows = False
        self._skipped = 0
        self._sequence = -1
        self._own_close: int | None = None

    def open(self, hello: str | None = HELLO) -> Talk:
        """Shake hands, and say hello if there is one, which has to be welcome."""
        assert self.connection.handshake(request()) == 101
        if hello is not None:
            self.text(hello)
            assert isinstance(self.read(), Welcome)
        return self

    def text(self, text: str | bytes) -> None:
        """Send a text message."""
        self.connection.send(
            pack(Opcode.TEXT, text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        )

    def binary(self, message: bytes) -> None:
        """Send a binary message; if it has a header, an answer about its sequence number is due."""
        try:
            header = Header.unpack(message)
        except HeaderError:
            pass
        else:
            self.expect(header.sequence)
        self.connection.send(pack(Opcode.BINARY, message))

    def expect(self, sequence: int) -> int:
        """A picture with this number is sent in some other way."""
        self.under_way.add(sequence)
        self._sequence = max(self._sequence, sequence)
        return sequence

    def picture(self, body: bytes, *, step: int = 1, timestamp: float = 0.0) -> int:
        """Send a picture as one should. Gives its sequence number."""
        sequence = min(self._sequence + step, MOST_SEQUENCE)
        self.binary(Header(Kind.PICTURE, sequence, timestamp).pack() + body)
        return sequence

    def close(self, payload: bytes = struct.pack("!H", 1000)) -> None:
        """Say that this is the end."""
        self._own_close = int.from_bytes(payload[:2], "big") if len(payload) > 1 else NO_CODE
        self.connection.send(pack(Opcode.CLOSE, payload))

    def read(self) -> Message | End:
        """The next message, or the end; an answer to a ping is none.

        Raises:
            TimeoutError, AssertionError: the service does not keep to the protocol.
        """
        while self.end is None:
            frame = self.connection.next()
            if frame is None:
                self.end = End(None, "")
            elif frame.opcode == Opcode.CLOSE:
                self._closed(frame)
            elif self._drawn_follows:
                self._check_drawn(frame)
            elif frame.opcode not in (Opcode.PING, Opcode.PONG):
                return self._message(frame)
        return self.end

    def wait(self, until: Callable[[Message], bool]) -> Message | End:
        """The first message that fits, or the end."""
        while True:
            message = self.read()
            if isinstance(message, End) or until(message):
                return message

    def settle(self, left: int = 0) -> None:
        """Read until no more than so many pictures are under way, or to the end."""
        while len(self.under_way) > left and not isinstance(self.read(), End):
            pass

    def goes_on(self) -> bool:
        """Whether the stream is alive: options are told, a good picture is answered. False: it has ended properly."""
        self.text('{"type": "options"}')
        answer = self.wait(lambda message: isinstance(message, OptionsChanged))
        if isinstance(answer, OptionsChanged) and self._sequence < MOST_SEQUENCE:
            self.settle(self._credits - 1)
            if self.end is None:
                self.picture(small_jpeg())
                self.settle()
        if self.end is not None:
            self._check_end()
        return self.end is None

    def finish(self) -> End:
        """Read to the end, which has to be a proper one, and hang up."""
        while not isinstance(self.read(), End):
            pass
        assert self.end is not None
        self._check_end()
        self.hang_up()
        return self.end

    def hang_up(self) -> None:
        """Without a word."""
        self.connection.socket.close()

    def _message(self, frame: Frame) -> Message:
        packed = frame.opcode == Opcode.BINARY
        message = SERVER_MESSAGE.validate_python(
            msgpack.unpackb(frame.payload) if packed else json.loads(frame.payload)
        )
        if isinstance(message, Welcome):
            self._credits, self._packed = message.credits, packed
        if isinstance(message, (Welcome, OptionsChanged)):
            self._drawing = message.options.draw
        if isinstance(message, Acknowledgement):
            self._acknowledge(message)
        if isinstance(message, StreamResult):
            self._drawn_follows = self._drawing and not self._packed
            assert self._packed == packed and (message.picture is not None) == (self._drawing and packed)
        return message

    def _acknowledge(self, message: StreamResult | StreamError) -> None:
        told = [*message.skipped, *([] if message.index is None else [message.index])]
        for sequence in told:
            assert sequence in self.under_way, f"{sequence} is acknowledged, but it is not under way: {message}"
            self.under_way.remove(sequence)
        self.acknowledged += len(told)
        self._skipped += len(message.skipped)
        assert message.dropped == self._skipped, f"{message.dropped} dropped, {self._skipped} told"

    def _check_drawn(self, frame: Frame) -> None:
        self._drawn_follows = False
        assert frame.opcode == Opcode.BINARY and Header.unpack(frame.payload).kind == Kind.DRAWN
        assert frame.payload[HEADER_BYTES:].startswith(b"\xff\xd8")

    def _closed(self, frame: Frame) -> None:
        code = int.from_bytes(frame.payload[:2], "big") if frame.payload else NO_CODE
        self.end = End(code, frame.payload[2:].decode())
        self.connection.send(pack(Opcode.CLOSE, frame.payload))
        self.connection.rest()

    def _check_end(self) -> None:
        assert self.end is not None
        if self.end.code is None:
            assert self.rude, "the service hung up without a close frame"
            return
        echo = {self._own_close} if not self.rude else _ECHOES
        assert self.end.code in ENDINGS | echo, f"an ending that is not documented: {self.end}"
