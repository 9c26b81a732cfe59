"""The people between two frames, for frames that nobody looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.skeleton import Skeleton

Floats = NDArray[np.float32]


def interpolate(before: Tracked, after: Tracked, fraction: float, skeleton: Skeleton) -> Tracked:
    """The people at a moment between two frames, matched by id, best first.

    Who is in both frames moves evenly from one to the other, and so do scores. A person or a keypoint that only one
    frame has is there in the half that is nearer to that frame (the later one has the middle), and does not move.

    Args:
        before, after: the frames on both sides.
        fraction: of the way, 0 (`before`) to 1 (`after`).
        skeleton: of the people.
    """
    ids = before.ids + tuple(id_ for id_ in after.ids if id_ not in before.ids)
    first, second = (_rows_of(ids, tracked, skeleton) for tracked in (before, after))
    nearer = first if fraction < 0.5 else second
    between = ((1 - fraction) * first.keypoints + fraction * second.keypoints).astype(np.float32)
    both = (first.keypoints[..., 2:] > 0) & (second.keypoints[..., 2:] > 0)
    keypoints = np.where(both, between, nearer.keypoints)
    shared = np.isin(ids, before.ids) & np.isin(ids, after.ids)
    scores = np.where(shared, (1 - fraction) * first.scores + fraction * second.scores, nearer.scores)

    there = np.isin(ids, before.ids if fraction < 0.5 else after.ids) | shared
    order = np.argsort(-scores, kind="stable")
    order = order[there[order]]
    people = People(keypoints[order], scores[order].astype(np.float32))
    return Tracked(people, tuple(ids[row] for row in order.tolist()))


def _rows_of(ids: tuple[int, ...], tracked: Tracked, skeleton: Skeleton) -> People:
    """The people with these ids in this order, all zeros for those who are not there."""
    people = People(np.zeros((len(ids), skeleton.num_keypoints, 3), np.float32), np.zeros(len(ids), np.float32))
    rows = [ids.index(id_) for id_ in tracked.ids]
    people.keypoints[rows], people.scores[rows] = tracked.people
    return people
