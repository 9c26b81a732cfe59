"""What a stream's client has sent and has no answer to yet: its newest picture, and changes of options."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from service.problems import Problem
from service.streams.closing import CloseCode
from service.streams.ending import StreamEnd
from service.streams.header import Header
from service.streams.messages import DEFAULT_CREDITS, StreamOptions
from service.streams.pace import Pace


class Picture(NamedTuple):
    """A picture that a client sent.

    Attributes:
        header: its number and time.
        data: the encoded picture.
        arrived: when, of `time.monotonic`.
    """

    header: Header
    data: bytes
    arrived: float


class Inbox:
    """Between the task that receives and the one that works. Keeps the client to its credits.

    A picture is under way from `put` until it is acknowledged: by its own answer, or as one that was passed over.

    Args:
        pace: how often a picture may be taken.

    Attributes:
        credits: how many pictures may be under way.
        dropped: how many were passed over so far.
    """

    def __init__(self, pace: Pace) -> None:
        self.credits = DEFAULT_CREDITS
        self.dropped = 0
        self._pace = pace
        self._last_sequence = -1
        self._under_way = 0
        self._newest: Picture | None = None
        self._skipped: list[int] = []
        self._changes: deque[StreamOptions | Problem] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, picture: Picture) -> None:
        """Take a picture in place of one that nobody has begun with. Nothing happens once it is closed.

        Raises:
            StreamEnd: its number is not higher than the last one's, or the client has no credit left.
        """
        sequence = picture.header.sequence
        if sequence <= self._last_sequence:
            detail = f"Picture {sequence} comes after picture {self._last_sequence}; numbers have to grow."
            raise StreamEnd(CloseCode.BAD_SEQUENCE, Problem(400, "bad-sequence", detail))
        if self._under_way >= self.credits:
            detail = f"{self._under_way} pictures are under way, as many as the stream has credits. Wait for answers."
            raise StreamEnd(CloseCode.TOO_MANY, Problem(429, "too-many-pictures", detail))
        self._last_sequence = sequence
        if self._closed:
            return
        self._under_way += 1
        if self._newest is not None:
            self._skip(self._newest)
        self._newest = picture
        self._changed.set()

    def change(self, options: StreamOptions | Problem) -> None:
        """Queue new options, or why there are none, to be answered between two pictures."""
        self._changes.append(options)
        self._changed.set()

    def close(self) -> None:
        """Take no more pictures; `take` gives what is there, and then None."""
        self._closed = True
        self._changed.set()

    async def take(self) -> Picture | StreamOptions | Problem | None:
        """What is to be done next: changes at once, the newest picture when it is due; None after the last one."""
        while True:
            self._changed.clear()
            if self._changes:
                return self._changes.popleft()
            if self._newest is None and self._closed:
                return None
            delay = None if self._newest is None else self._pace.wait()
            if delay == 0 or (delay is not None and self._closed):
                return self._take_newest()
            await self._wait(delay)

    def newer(self, picture: Picture) -> Picture:
        """What has come since this picture was taken, in its place; itself if nothing has."""
        newest, self._newest = self._newest, None
        if newest is None:
            return picture
        self._skip(picture)
        return newest

    def acknowledge(self, answered: int) -> list[int]:
        """Give back the credits of `answered` pictures (0 or 1) and of those passed over, whose numbers it returns."""
        skipped, self._skipped = self._skipped, []
        self._under_way -= answered + len(skipped)
        return skipped

    def _skip(self, picture: Picture) -> None:
        self._skipped.append(picture.header.sequence)
        self.dropped += 1

    def _take_newest(self) -> Picture | None:
        picture, self._newest = self._newest, None
        self._pace.begin()
        return picture

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
