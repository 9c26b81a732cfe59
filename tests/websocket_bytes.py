"""A WebSocket client that works on bytes, so that it can say everything, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from service.streams.messages import PATH, PROTOCOL

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_RECEIVED = 65536
SECONDS = 20.0
"""How long an answer may take before it counts as none."""


class Opcode(IntEnum):
    """What a frame is; 3 to 7 and 11 to 15 are reserved."""

    MORE = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Frame(NamedTuple):
    """One that the server sent."""

    opcode: int
    payload: bytes


def pack(
    opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0, form: int = 0
) -> bytes:
    """The bytes of a frame.

    Args:
        opcode: 0 to 15.
        payload: as it is: the mask, if any, is of zeros.
        final: whether the message ends with it.
        masked: as a client's frames have to be.
        reserved: the three bits that have to be 0.
        form: of the length: 0 is the shortest, 126 and 127 are those of two and eight bytes.
    """
    size = len(payload)
    form = form or (size if size < 126 else 126 if size < 1 << 16 else 127)
    start = bytes([final << 7 | reserved << 4 | opcode, masked << 7 | form])
    length = struct.pack("!H", size & 0xFFFF) if form == 126 else struct.pack("!Q", size) if form == 127 else b""
    return start + length + bytes(4 * masked) + payload


def request(
    protocols: Sequence[str] = (PROTOCOL,),
    origin: str | None = None,
    *,
    start: str = f"GET {PATH} HTTP/1.1",
    key: str | None = _KEY,
    version: str | None = "13",
    more: bytes = b"",
) -> bytes:
    """The bytes of a handshake; a header whose value is None is left out."""
    headers = {
        "Host": "yaop",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": version,
        "Sec-WebSocket-Protocol": ", ".join(protocols) or None,
        "Origin": origin,
    }
    lines = [start, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join([*lines, ""]).encode("latin-1", "replace") + more + b"\r\n"


class Connection:
    """One TCP connection to a server.

    Attributes:
        socket: for what this class does not do.
    """

    def __init__(self, port: int, seconds: float = SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = bytearray()
        self._sending = threading.Lock()

    def send(self, data: bytes) -> None:
        """As much as the server takes: one that has closed takes nothing, which is its right."""
        with self._sending, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def handshake(self, data: bytes | None = None) -> int:
        """Send the request and read the answer's head. Gives the HTTP status; 0: closed without one."""
        self.send(data or request())
        return self.status()

    def status(self) -> int:
        """Of the HTTP answer, whose head is read; 0: the connection ended without one."""
        while b"\r\n\r\n" not in self._read:
            if not self._receive():
                return 0
        head, _, rest = bytes(self._read).partition(b"\r\n\r\n")
        self._read = bytearray(rest)
        return int(head.split(b" ", 2)[1])

    def next(self) -> Frame | None:
        """The server's next frame; None: the connection has ended.

        Raises:
            TimeoutError: there is none.
        """
        while True:
            frame = self._take()
            if frame is not None or not self._receive():
                return frame

    def rest(self) -> bytes:
        """Everything to the end of the connection."""
        while self._receive():
            pass
        return bytes(self._read)

    def end_writing(self) -> None:
        """Close one direction, if the connection still is."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Hang up with an RST, as a process that is killed may."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _take(self) -> Frame | None:
        """A frame out of what was read; a server's are neither masked nor in parts."""
        if len(self._read) < 2:
            return None
        assert self._read[0] & 0xF0 == 0x80 and self._read[1] < 0x80, "the server sends an odd frame"
        form = self._read[1]
        begin = {126: 4, 127: 10}.get(form, 2)
        if len(self._read) < begin:
            return None
        size = form if form < 126 else int.from_bytes(self._read[2:begin], "big")
        if len(self._read) < begin + size:
            return None
        frame = Frame(self._read[0] & 0xF, bytes(self._read[begin : begin + size]))
        del self._read[: begin + size]
        return frame

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(_RECEIVED)
        except ConnectionResetError:
            return False
        self._read += data
        return bool(data)
