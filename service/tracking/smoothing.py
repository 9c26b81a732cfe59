"""Steady keypoints without lag: the one-euro filter, for each keypoint of each person.

Casiez, Roussel, Vogel: 1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems,
CHI 2012. A low-pass filter whose cutoff rises with speed: at rest it takes the jitter away, in motion it follows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.tracking.body import body_size
from service.tracking.elapsed import elapsed
from service.tracking.tracked import Tracked, TrackingStateError
from shared.assembly import People
from shared.skeleton import Skeleton

_NEVER = 1e9  # seconds; infinity is no JSON
_SHORTEST = 1e-3  # seconds from frame to frame

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SmoothingOptions:
    """How much is smoothed; speeds are in person sizes (`service.tracking.body.body_size`) a second.

    The paper's recipe to tune them: with `beta` 0 lower `min_cutoff` until people at rest don't jitter, then raise
    `beta` until people in motion don't lag. `benchmarks.tracking` measures both.

    Attributes:
        min_cutoff: cutoff frequency at rest in Hz.
        beta: by how many Hz the cutoff rises for each person size a second.
        derivative_cutoff: cutoff frequency in Hz of the filter that the speed goes through; the paper's value.
        forget_seconds: a keypoint out of sight for longer begins anew where it is seen again.
    """

    min_cutoff: float = 1.0
    beta: float = 10.0
    derivative_cutoff: float = 1.0
    forget_seconds: float = 0.5


@dataclass(frozen=True)
class _Filters:
    """Of F people, by id: filtered places in pixels, filtered velocities in person sizes a second, seconds since seen.

    Attributes:
        ids: which person.
        xy, velocity: ``[F, K, 2]``.
        age: ``[F, K]``; `_NEVER` where a keypoint begins anew.
    """

    ids: tuple[int, ...]
    xy: Floats
    velocity: Floats
    age: Floats

    @staticmethod
    def begin(ids: tuple[int, ...], keypoints: int) -> _Filters:
        """People of whom nothing was seen yet."""
        zeros = np.zeros((len(ids), keypoints, 2))
        return _Filters(ids, zeros, zeros, np.full((len(ids), keypoints), _NEVER))

    def pick(self, rows: list[int]) -> _Filters:
        """Some of them."""
        return _Filters(tuple(self.ids[row] for row in rows), self.xy[rows], self.velocity[rows], self.age[rows])

    def join(self, others: _Filters) -> _Filters:
        """These and then the others."""
        pairs = ((self.xy, others.xy), (self.velocity, others.velocity), (self.age, others.age))
        return _Filters(self.ids + others.ids, *(np.concatenate(pair) for pair in pairs))

    def older(self, seconds: float, forget: float) -> _Filters:
        """The same after some time, without what is forgotten by then."""
        age = self.age + seconds
        age[age > forget] = _NEVER
        older = _Filters(self.ids, self.xy, self.velocity, age)
        return older.pick(np.flatnonzero(age.min(axis=1) < _NEVER).tolist())


class Smoother:
    """Filters the keypoints of people by their ids.

    Args:
        skeleton: of the people.
        options: how much is smoothed.
    """

    def __init__(self, skeleton: Skeleton, options: SmoothingOptions = SmoothingOptions()) -> None:
        self._options = options
        self._filters = _Filters.begin((), skeleton.num_keypoints)
        self._timestamp: float | None = None

    def update(self, tracked: Tracked, timestamp: float) -> Tracked:
        """The people of the next frame with smoothed places; scores, ids and absent keypoints stay as they are.

        Args:
            tracked: people of the frame.
            timestamp: of the frame in seconds; the steps need not be equal. One that is not later than the last
                counts as a millisecond later.
        """
        passed, until = elapsed(self._timestamp, timestamp)
        filters = self._filters.older(max(_SHORTEST, passed), self._options.forget_seconds)
        known = {id_: row for row, id_ in enumerate(filters.ids)}
        here = [row for id_ in tracked.ids if (row := known.get(id_)) is not None]
        rest = [row for id_, row in known.items() if id_ not in tracked.ids]
        new = tuple(id_ for id_ in tracked.ids if id_ not in known)
        of_frame = filters.pick(here).join(_Filters.begin(new, filters.age.shape[1]))
        order = {id_: row for row, id_ in enumerate(of_frame.ids)}

        people = tracked.people
        xy, present = people.keypoints[..., :2].astype(np.float64), people.keypoints[..., 2] > 0
        smoothed = self._filtered(of_frame.pick([order[id_] for id_ in tracked.ids]), xy, present)
        self._filters, self._timestamp = smoothed.join(filters.pick(rest)), until
        keypoints = people.keypoints.copy()
        keypoints[..., :2] = np.where(present[..., None], smoothed.xy, keypoints[..., :2])
        return Tracked(People(keypoints, people.scores), tracked.ids)

    def state(self) -> dict[str, Any]:
        """Everything the next frame needs, as JSON values; a smoother that it is restored to goes on identically."""
        filters = self._filters
        arrays = {"xy": filters.xy, "velocity": filters.velocity, "age": filters.age}
        values = {name: array.tolist() for name, array in arrays.items()}
        return {"timestamp": self._timestamp, "ids": list(filters.ids), **values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of a smoother with this skeleton.

        Raises:
            TrackingStateError: it is not one, or of another skeleton; the smoother stays as it was.
        """
        keypoints = self._filters.age.shape[1]
        try:
            ids, timestamp = tuple(int(id_) for id_ in state["ids"]), state["timestamp"]
            xy, velocity = (np.array(state[name], float).reshape(len(ids), keypoints, 2) for name in ("xy", "velocity"))
            age = np.array(state["age"], float).reshape(len(ids), keypoints)
        except (KeyError, TypeError, ValueError) as error:
            raise TrackingStateError(f"not the state of a smoother of {keypoints} keypoints: {error}") from error
        self._filters, self._timestamp = _Filters(ids, xy, velocity, age), timestamp

    def _filtered(self, before: _Filters, xy: Floats, present: NDArray[np.bool_]) -> _Filters:
        """Algorithm 1 of the paper, with the time since each keypoint was seen as its sampling period."""
        options, begins = self._options, (before.age >= _NEVER)[..., None]
        period = before.age[..., None]
        size = body_size(xy, present)[:, None, None]
        share = _share(np.array(options.derivative_cutoff), period)
        velocity = before.velocity + share * ((xy - before.xy) / size / period - before.velocity)
        velocity = np.where(begins, 0.0, velocity)
        speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
        moved = before.xy + _share(options.min_cutoff + options.beta * speed, period) * (xy - before.xy)
        seen = present[..., None]
        return _Filters(
            before.ids,
            np.where(seen, np.where(begins, xy, moved), before.xy),
            np.where(seen, velocity, before.velocity),
            np.where(present, 0.0, before.age),
        )


def _share(cutoff: Floats, period: Floats) -> Floats:
    """How much of a new value a low-pass filter takes: `cutoff` in Hz, `period` in seconds."""
    return period / (period + 1 / (2 * math.pi * cutoff))
