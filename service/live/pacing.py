"""The speed of a source that is decoded: a clip's own, or that of a camera on the network, which is not to lag."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

LATEST_SECONDS = 1.0


class PacketLike(Protocol):
    """As much of a packet as is needed here."""

    @property
    def is_keyframe(self) -> bool:
        """Whether decoding may begin with it."""
        ...


AnyPacket = TypeVar("AnyPacket", bound=PacketLike)


class Pace:
    """Knows when each picture is due, from when the first one was.

    Args:
        waits: whether pictures that are early are to wait: those of a clip. Of a camera, which is never early, the
            earliest one shows how late the others are.
        clock, sleep: those of `time`.
    """

    def __init__(
        self,
        *,
        waits: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._waits = waits
        self._clock = clock
        self._sleep = sleep
        self._start: float | None = None

    def late(self, timestamp: float) -> float:
        """For how many seconds a picture of this time has been due; below 0 before it is."""
        return -1.0 if self._start is None else self._clock() - self._start - timestamp

    def keep(self, timestamp: float) -> None:
        """Wait until the picture of this time is due."""
        late = self.late(timestamp)
        if self._start is None or (late < 0 and not self._waits):
            self._start = self._clock() - timestamp
        elif late < 0:
            self._sleep(-late)

    def restart(self, timestamp: float) -> None:
        """The picture of this time is due now: the source's clock is not this one's."""
        self._start = self._clock() - timestamp


TimeOf = Callable[[AnyPacket], float | None]
"""Seconds of a packet; None if not known."""


def without_delay(
    packets: Iterator[AnyPacket], time_of: TimeOf[AnyPacket], pace: Pace, dropped: Callable[[int], object]
) -> Iterator[AnyPacket]:
    """The packets of a clip, but for those that are left out so that decoding catches up.

    Once decoding is late by `LATEST_SECONDS`, it goes on at the newest key frame that is due by now, if there is one.

    Args:
        packets: in the order they are stored.
        time_of: tells their times.
        pace: tells what is late.
        dropped: told how many packets were left out.
    """
    ahead: deque[AnyPacket] = deque()
    while (packet := ahead.popleft() if ahead else next(packets, None)) is not None:
        if not ahead and _late(packet, time_of, pace) > LATEST_SECONDS:
            ahead.append(packet)
            for packet in packets:
                late = _late(packet, time_of, pace)
                if packet.is_keyframe and late >= 0:
                    dropped(len(ahead))
                    ahead.clear()
                ahead.append(packet)
                if late <= 0:
                    break
            packet = ahead.popleft()
        yield packet


def without_lag(
    packets: Iterator[AnyPacket], time_of: TimeOf[AnyPacket], pace: Pace, dropped: Callable[[int], object]
) -> Iterator[AnyPacket]:
    """The packets of a camera, likewise: what is late by `LATEST_SECONDS` is left out up to the next key frame.

    That one counts as due, so that a clock that runs otherwise than this machine's does not add up to a lag.
    """
    for packet in packets:
        if _late(packet, time_of, pace) > LATEST_SECONDS:
            count = 0
            while not packet.is_keyframe:
                count += 1
                following = next(packets, None)
                if following is None:
                    return
                packet = following
            dropped(count)
            pace.restart(time_of(packet) or 0.0)
        yield packet


def _late(packet: AnyPacket, time_of: TimeOf[AnyPacket], pace: Pace) -> float:
    seconds = time_of(packet)
    return 0.0 if seconds is None else pace.late(seconds)
