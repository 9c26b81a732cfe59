"""What a tracker is compared with: boxes matched by their overlap with the last place, without any motion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from service.tracking.tracked import Tracked
from shared.assembly import People

LEAST_OVERLAP = 0.3


class IouTracker:
    """Matches boxes to those of the ids seen in the last seconds, by the best sum of intersections over unions."""

    def __init__(self, max_lost_seconds: float) -> None:
        self._max_lost_seconds = max_lost_seconds
        self._last: dict[int, tuple[NDArray[np.float32], float]] = {}
        self._next_id = 1

    def update(self, people: People, timestamp: float) -> Tracked:
        """The people of the next frame, in the same order, with ids."""
        self._last = {i: (b, seen) for i, (b, seen) in self._last.items() if timestamp - seen <= self._max_lost_seconds}
        known = list(self._last)
        boxes = [_box(person) for person in people.keypoints]
        overlaps = np.array([[_overlap(self._last[id_][0], box) for box in boxes] for id_ in known])
        overlaps = overlaps.reshape(len(known), len(boxes))
        ids = [0] * len(boxes)
        for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[row, column] >= LEAST_OVERLAP:
                ids[column] = known[row]
        for column, box in enumerate(boxes):
            if not ids[column]:
                ids[column], self._next_id = self._next_id, self._next_id + 1
            self._last[ids[column]] = (box, timestamp)
        return Tracked(people, tuple(ids))


def _box(keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    xy = keypoints[keypoints[:, 2] > 0, :2]
    return np.concatenate([xy.min(axis=0), xy.max(axis=0)])


def _overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    common = np.maximum(high - low, 0).prod()
    return float(common / max((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - common, 1e-6))
