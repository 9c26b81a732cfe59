"""Clients of the stream protocol, for a process of their own: what they do must not slow the service's process down.

Pictures are encoded before the clock starts. Times are of `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks.pictures import crowd
from service.streams.header import Header, Kind
from service.streams.messages import PATH, PROTOCOL
from tests.websocket_bytes import Connection, Opcode, pack

_PICTURES = 30
_QUALITY = 80  # what a browser makes of a camera
_SECONDS = 60.0
_DEAF_PAUSE = 0.1


@dataclass(frozen=True)
class Load:
    """What a client does.

    Attributes:
        seconds: how long, from its welcome.
        credits: how many pictures it has under way.
        fps: of its camera; 0: a picture whenever a credit is free.
        period: so often, in seconds, it is silent for `pause` seconds, at the end of each period; 0: never.
    """

    seconds: float
    credits: int = 2
    fps: float = 0.0
    period: float = 0.0
    pause: float = 0.0


class Reply(NamedTuple):
    """A result: when it came, how old its picture was, and the service's own times; seconds and milliseconds."""

    at: float
    round_trip_ms: float
    timing_ms: dict[str, float]


@dataclass(frozen=True)
class Log:
    """What a client saw.

    Attributes:
        began: when it was welcome.
        replies: all results, in order.
        offered: pictures that its camera made.
        sent: those that it had a credit for.
        skipped: those that the service passed over.
    """

    began: float
    replies: list[Reply]
    offered: int
    sent: int
    skipped: int


@cache
def pictures() -> list[bytes]:
    """JPEGs of 640x480 as a camera gives them: a person who moves from side to side."""
    shifts = [round(60 * np.sin(2 * np.pi * i / _PICTURES)) for i in range(_PICTURES)]
    return [_jpeg(np.roll(crowd(1), shift, axis=1)) for shift in shifts]


def _jpeg(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def run(url: str, loads: list[Load]) -> list[Log]:
    """All these clients at once."""
    pictures()

    async def all_of_them() -> list[Log]:
        return await asyncio.gather(*(_Client(load).run(url) for load in loads))

    return asyncio.run(all_of_them())


class _Client:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._credits = asyncio.Semaphore(load.credits)
        self._sent_at: dict[int, float] = {}
        self._replies: list[Reply] = []
        self._offered = self._skipped = 0
        self._began = 0.0

    async def run(self, url: str) -> Log:
        address = url.replace("http", "ws", 1) + PATH
        protocols = [Subprotocol(PROTOCOL)]
        async with connect(address, subprotocols=protocols, compression=None, proxy=None) as connection:
            hello = {"type": "hello", "resolution": "fast", "credits": self._load.credits}
            await connection.send(json.dumps(hello))
            await asyncio.wait_for(connection.recv(), _SECONDS)
            self._began = time.monotonic()
            reading = asyncio.create_task(self._read(connection))
            sending = self._film(connection) if self._load.fps else self._send_all(connection)
            try:
                await sending
            finally:
                reading.cancel()
        return Log(self._began, self._replies, self._offered, self._next, self._skipped)

    @property
    def _next(self) -> int:
        """Sequence number of the next picture."""
        return len(self._sent_at)

    async def _send_all(self, connection: ClientConnection) -> None:
        """A picture whenever there is a credit."""
        load = self._load
        while (now := time.monotonic() - self._began) < load.seconds:
            if load.period and now % load.period > load.period - load.pause:
                await asyncio.sleep(load.period - now % load.period)
            async with asyncio.timeout(_SECONDS):
                await self._credits.acquire()
            self._offered += 1
            await self._send(connection)

    async def _film(self, connection: ClientConnection) -> None:
        """A picture when it is time, or none where there is no credit."""
        while (now := time.monotonic() - self._began) < self._load.seconds:
            self._offered += 1
            if not self._credits.locked():
                await self._credits.acquire()
                await self._send(connection)
            await asyncio.sleep(max(0.0, self._offered / self._load.fps - now))

    async def _send(self, connection: ClientConnection) -> None:
        sequence, now = self._next, time.monotonic()
        self._sent_at[sequence] = now
        header = Header(Kind.PICTURE, sequence, now - self._began)
        await connection.send(header.pack() + pictures()[sequence % _PICTURES])

    async def _read(self, connection: ClientConnection) -> None:
        async for text in connection:
            now = time.monotonic()
            message: dict[str, Any] = json.loads(text)
            assert message["type"] == "result", message
            self._replies.append(Reply(now, (now - self._sent_at[message["index"]]) * 1000, message["timing_ms"]))
            self._skipped += len(message["skipped"])
            for _ in range(1 + len(message["skipped"])):
                self._credits.release()


def never_read(url: str, seconds: float) -> float | None:
    """A client that asks for drawn pictures, as large as noise makes them, and lets them lie.

    It goes on sending, as if it had been answered, until it can't any more.

    Returns:
        Seconds until the service hung up; None: it never did.
    """
    noise = _jpeg(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    deaf = Connection(int(url.rsplit(":", 1)[1]), 1.0)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert deaf.handshake() == 101
    deaf.send(pack(Opcode.TEXT, b'{"type": "hello", "resolution": "fast", "draw": true, "credits": 16}'))
    begin, closed = time.monotonic(), select.poll()
    closed.register(deaf.socket, select.POLLHUP)
    with contextlib.suppress(OSError):
        for sequence in range(round(seconds / _DEAF_PAUSE)):
            deaf.socket.sendall(pack(Opcode.BINARY, Header(Kind.PICTURE, sequence, 0.0).pack() + noise))
            time.sleep(_DEAF_PAUSE)
    with deaf.socket:
        hung_up = closed.poll(1000 * max(0.0, begin + seconds - time.monotonic()))
        return time.monotonic() - begin if hung_up else None
