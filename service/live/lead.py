"""How many pictures to have under way to a service.

A second one keeps the service busy while results travel; where they hardly do, it only waits for the first, and is that
much older when its turn comes.
"""

from __future__ import annotations

from collections.abc import Mapping

_WORTH_IT = 0.3  # share of the time in which the service would have nothing to do
_RECENT = 0.1


class Lead:
    """Learns from results whether more than one picture under way is worth it. For one thread that learns."""

    def __init__(self) -> None:
        self._idle: float | None = None

    def learn(self, away: float, timing_ms: Mapping[str, float]) -> None:
        """Learn from a result.

        Args:
            away: seconds from when its picture was begun to be encoded until it was there.
            timing_ms: of the result.
        """
        total = timing_ms.get("total", 0.0) / 1000
        travelled = max(0.0, away - total)
        idle = travelled / max(travelled + total - timing_ms.get("queue", 0.0) / 1000, 1e-3)
        self._idle = idle if self._idle is None else self._idle + _RECENT * (idle - self._idle)

    def most(self, credit: int) -> int:
        """How many pictures should be under way, of `credit` that may be."""
        return 1 if self._idle is not None and self._idle < _WORTH_IT else credit
