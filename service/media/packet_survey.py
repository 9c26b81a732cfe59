"""What the packets of a stream say together: frames, duration, rate; its headers are not asked."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

from service.media.timing import Timing
from service.media.video_errors import VideoError

_UNEVEN = 0.02  # of a frame's time: less is rounding


class PacketSurvey:
    """Counts packets and keeps their times.

    Args:
        time_base: seconds a tick.
        max_seconds, max_frames: more is refused, as soon as it is seen.
        rate: frames a second, for a stream without times.

    Attributes:
        packets: so far.
        frames: those of them that are shown.
    """

    def __init__(self, time_base: Fraction, max_seconds: float, max_frames: int, rate: Fraction | None) -> None:
        self.packets = self.frames = 0
        self._base = time_base
        self._max_seconds, self._max_frames = max_seconds, max_frames
        self._rate = rate or Fraction(25)
        self._shown: list[int] = []
        self._stored: list[int] = []
        self._first = self._end = None

    def add(self, pts: int | None, dts: int | None, duration: int | None, *, shown: bool = True) -> None:
        """Take in one packet.

        Args:
            pts, dts, duration: in ticks.
            shown: whether it makes a frame that is to be seen; an edit list may say no.

        Raises:
            VideoError: there are too many, or they last too long.
        """
        self.packets += 1
        if not shown:
            return
        self.frames += 1
        if self.frames > self._max_frames:
            message = f"it has more frames than the limit of {self._max_frames}; send it in parts"
            raise VideoError("too-many-frames", message)
        if pts is not None:
            self._shown.append(pts)
        if dts is not None:
            self._stored.append(dts)
        time = dts if pts is None else pts
        if time is None:
            return
        self._first = time if self._first is None else min(self._first, time)
        end = time + max(0, duration or 0)
        self._end = end if self._end is None else max(self._end, end)
        self._check_length(float((self._end - self._first) * self._base))

    def _check_length(self, seconds: float) -> None:
        if seconds > self._max_seconds:
            message = f"it lasts longer than the limit of {self._max_seconds:g} s; cut it"
            raise VideoError("too-long", message)

    @property
    def stored_times_rise(self) -> bool:
        """Whether all packets have decoding times, each later than the one before."""
        rising = all(first < second for first, second in pairwise(self._stored))
        return rising and len(self._stored) == self.frames

    def timing(self, *, by_order: bool) -> Timing:
        """How the times are to be read; `by_order` where they belong to the order of packets in any case."""
        unique = len(set(self._shown)) == self.frames
        return Timing(by_order or not unique, self._step())

    def facts(self, timing: Timing) -> dict[str, Any]:
        """``seconds``, ``fps`` and ``variable`` of `service.media.probe.VideoInfo`.

        Raises:
            VideoError: it lasts too long.
        """
        times = self._times(by_order=timing.by_order)
        ticks = timing.step * self.frames
        if len(times) > 1:
            ticks = times[-1] + timing.step - times[0]
        if not timing.by_order and self._end is not None:
            ticks = max(ticks, self._end - times[0])
        seconds = float(ticks * self._base)
        self._check_length(seconds)
        return {"seconds": seconds, "fps": self.frames / seconds, "variable": _is_uneven(times)}

    def _times(self, *, by_order: bool) -> list[int]:
        return sorted(set(self._stored if by_order and self._stored else self._shown))

    def _step(self) -> int:
        """Average ticks between frames, at least one."""
        times = self._times(by_order=False) or self._times(by_order=True)
        if len(times) < 2:
            return max(1, round(1 / (self._rate * self._base)))
        # Times that repeat share their span: then two frames of one time are half a step apart.
        return max(1, round((times[-1] - times[0]) / (max(self.frames, len(times)) - 1)))


def _is_uneven(times: list[int]) -> bool:
    if len(times) < 3:
        return False
    mean = (times[-1] - times[0]) / (len(times) - 1)
    tolerance = max(min(1.0, mean / 2), _UNEVEN * mean)  # times are rounded to ticks
    return any(abs(after - before - mean) > tolerance for before, after in pairwise(times))
