"""How often something may happen."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Allowance:
    """So many at once, and so many more a second (a token bucket).

    Args:
        burst: how many at once.
        per_second: how many more.
        clock: gives seconds.
    """

    def __init__(self, burst: int, per_second: float, clock: Clock = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = float(burst)
        self._counted = clock()

    def take(self) -> bool:
        """Use one up; False if there is none left."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._counted) * self._per_second)
        self._counted = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Pace:
    """Keeps a beat: no more than so many a second, on average.

    Args:
        per_second: how many.
        clock: gives seconds.
    """

    def __init__(self, per_second: float, clock: Clock = time.monotonic) -> None:
        self._seconds = 1 / per_second
        self._clock = clock
        self._due = clock()

    def wait(self) -> float:
        """Seconds until the next may begin; 0 for now."""
        return max(0.0, self._due - self._clock())

    def begin(self) -> None:
        """One begins now. Who was late by less than a beat may make up for it."""
        self._due = max(self._due, self._clock() - self._seconds) + self._seconds

    def hold(self, seconds: float) -> None:
        """Let nothing begin for so long."""
        self._due = max(self._due, self._clock() + seconds)
