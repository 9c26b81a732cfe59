"""How many people a video shows: ids that were seen long enough to be no mistake."""

from __future__ import annotations

from collections.abc import Iterable

ENOUGH_SIGHTINGS = 5
_FORGET_SECONDS = 4.0  # more than a tracker keeps the id of somebody out of sight


class HeadCount:
    """Counts ids with at least `ENOUGH_SIGHTINGS`; who is found by mistake rarely lasts so long.

    Args:
        state: to go on from, of `state`.
    """

    def __init__(self, state: list[list[float]] | None = None) -> None:
        (people, *_), *rows = state or [[0]]
        self.people = int(people)
        self._recent = {int(identity): (int(sightings), seen) for identity, sightings, seen in rows}

    def see(self, ids: Iterable[int], timestamp: float) -> None:
        """Count the people of a frame at this time in seconds; times do not decrease."""
        for identity in ids:
            sightings = self._recent.get(identity, (0, 0.0))[0] + 1
            self.people += sightings == ENOUGH_SIGHTINGS
            self._recent[identity] = sightings, timestamp
        recent = self._recent.items()
        self._recent = {i: row for i, row in recent if timestamp - row[1] <= _FORGET_SECONDS}

    def state(self) -> list[list[float]]:
        """Fit for JSON; no larger than the number of people of the last seconds."""
        return [[self.people], *([i, sightings, seen] for i, (sightings, seen) in self._recent.items())]
