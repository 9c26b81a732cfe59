"""Time stamps of decoded frames that always rise, whatever the file says; the same for every reading of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """How a stream's time stamps are to be read.

    Attributes:
        by_order: the stamps belong to packets in the order they are stored, and frames take them in the order they
            are shown. So it is in AVI, and where stamps are missing or not unique.
        step: ticks between frames where there is nothing better to go by.
    """

    by_order: bool
    step: int


class Clock:
    """Gives each frame of one reading its time stamp.

    All stamps are in the time base of the stream.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._waiting: deque[int | None] = deque()
        self._last: int | None = None

    def fed(self, dts: int | None) -> None:
        """A packet with this decoding time goes to the decoder."""
        if self._timing.by_order:
            self._waiting.append(dts)

    def lost(self) -> None:
        """A packet could not be decoded: its time passes without a frame."""
        if self._waiting:
            self._waiting.popleft()

    def stamp(self, pts: int | None) -> int:
        """The time stamp of the next frame, larger than all before.

        Args:
            pts: what the decoder says.
        """
        if self._timing.by_order:
            pts = self._waiting.popleft() if self._waiting else None
        if self._last is None:
            self._last = 0 if pts is None else pts
        elif pts is None or pts <= self._last:
            self._last += self._timing.step
        else:
            self._last = pts
        return self._last
