"""How a live run goes: speed, latency, what was dropped, and who is there."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable

from service.live.seen import Seen
from service.video.head_count import HeadCount

_WINDOW_SECONDS = 3.0
_STEP = math.log(1.02)  # latencies are known to 2 %, so that those of a year take no more room than those of a minute


class Latencies:
    """Counts seconds, and tells their quantiles to 2 %."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[round(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def remove(self, seconds: float) -> None:
        """Forget one that was counted."""
        self._counts[round(math.log(max(seconds, 1e-6)) / _STEP)] -= 1

    def quantile(self, share: float) -> float:
        """The seconds that this share of all does not exceed; 0 if there are none."""
        rest = share * self._counts.total()
        for step in sorted(self._counts):
            rest -= self._counts[step]
            if rest <= 0 < self._counts[step]:
                return math.exp(step * _STEP)
        return 0.0


class Figures:
    """Counts results.

    Args:
        clock: that of `time.monotonic`.

    Attributes:
        results: how many there were.
        people: in the last one.
        dropped: pictures before the last result that have none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.results = 0
        self.people = 0
        self.dropped = 0
        self._clock = clock
        self._start = clock()
        self._recent: deque[tuple[float, float]] = deque()
        self._latencies, self._recent_latencies = Latencies(), Latencies()
        self._head_count = HeadCount()
        self._tracked = False

    def add(self, seen: Seen) -> None:
        """Count a result that has just come."""
        self.results += 1
        self.people = len(seen.frame.people)
        self.dropped = seen.frame.index + 1 - self.results
        ids = [person.id for person in seen.frame.people if person.id is not None]
        self._tracked = self._tracked or bool(ids)
        self._head_count.see(ids, seen.frame.timestamp)
        self._recent.append((self._clock(), seen.latency))
        self._latencies.add(seen.latency)
        self._recent_latencies.add(seen.latency)

    def now(self) -> str:
        """The last seconds in a line; what was dropped is counted since the start."""
        if not self.results:
            return "waiting for the first picture"
        now = self._clock()
        while self._recent and self._recent[0][0] <= now - _WINDOW_SECONDS:
            self._recent_latencies.remove(self._recent.popleft()[1])
        spell = min(_WINDOW_SECONDS, max(now - self._start, 0.1))
        latencies = f"{_latency(self._recent_latencies)}, " if self._recent else ""
        rate = f"{len(self._recent) / spell:.1f} fps"
        return f"{rate}, {latencies}{self.dropped} dropped, {_people(self.people)}"

    def summary(self) -> str:
        """The whole run in a line."""
        seconds = self._clock() - self._start
        seen = f", {_people(self._head_count.people)} seen" if self._tracked else ""
        rate = f"{self.results} results in {seconds:.1f} s ({self.results / max(seconds, 1e-3):.1f} fps)"
        return f"{rate}, {_latency(self._latencies)}, {self.dropped} dropped{seen}"


def _latency(latencies: Latencies) -> str:
    median, late = (latencies.quantile(share) * 1000 for share in (0.5, 0.95))
    return f"latency {median:.0f} ms (95 %: {late:.0f} ms)"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
