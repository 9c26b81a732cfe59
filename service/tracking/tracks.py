"""What a tracker knows of everybody it follows, and how people move: constant velocity, with a Kalman filter.

A person is a body that moves as a whole (position and velocity, filtered) and a shape that follows what is seen.
Uncertainties are in person sizes, so one set of numbers suits every resolution and distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.tracking.body import body_size
from service.tracking.tracked import TrackingStateError

_LEAST_TRUST = 0.05  # or one look would be worth nothing
_NEVER = 1e9  # seconds; infinity is no JSON

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MotionOptions:
    """How people move and how well they are seen; lengths in person sizes (`service.tracking.body.body_size`).

    Attributes:
        noise: how exactly one look places a body.
        start_speed: of somebody seen for the first time, a second.
        agility: how much the speed may have changed after a second.
        shape_seconds: the time in which a remembered shape follows what is seen.
        cruise_seconds: the time over which speed is averaged for people out of sight. What is seen of them last is
            little and bad, for instance all keypoints at the edge of what hides them, and would turn them round.
        calm_seconds: the time in which people out of sight go over to that average.
    """

    noise: float = 0.1
    start_speed: float = 2.0
    agility: float = 4.0
    shape_seconds: float = 0.05
    cruise_seconds: float = 0.3
    calm_seconds: float = 0.1


@dataclass(frozen=True)
class Tracks:
    """T people who are followed.

    Attributes:
        ids: int64 ``[T]``.
        sightings: int64 ``[T]``: in how many frames each was seen.
        position: ``[T, 2]`` in pixels, of a point that moves with the body.
        velocity: ``[T, 2]`` in pixels a second.
        cruise: ``[T, 2]``: the velocity averaged over some time.
        covariance: ``[T, 3]``: variances of position and, last, of velocity, between them their covariance; the same
            in x and y; person sizes and seconds.
        shape: ``[T, K, 2]`` keypoints in pixels relative to the position.
        age: ``[T, K]`` seconds since the keypoint was seen.
    """

    ids: NDArray[np.int64]
    sightings: NDArray[np.int64]
    position: Floats
    velocity: Floats
    cruise: Floats
    covariance: Floats
    shape: Floats
    age: Floats

    @staticmethod
    def none(keypoints: int) -> Tracks:
        """Nobody, with a skeleton of so many keypoints."""
        counts, points = np.zeros(0, np.int64), np.zeros((0, 2))
        shape = np.zeros((0, keypoints, 2))
        return Tracks(counts, counts, points, points, points, np.zeros((0, 3)), shape, np.zeros((0, keypoints)))

    @staticmethod
    def begin(ids: NDArray[np.int64], xy: Floats, present: NDArray[np.bool_], options: MotionOptions) -> Tracks:
        """People seen for the first time: keypoints ``[T, K, 2]`` in pixels, and which ``[T, K]`` are present."""
        count, still = len(ids), np.zeros((len(ids), 2))
        number = np.maximum(present.sum(axis=1), 1)[:, None]
        position = (xy * present[..., None]).sum(axis=1) / number
        covariance = np.tile([options.noise**2, 0.0, options.start_speed**2], (count, 1))
        age = np.where(present, 0.0, _NEVER)
        shape = np.where(present[..., None], xy - position[:, None], 0.0)
        return Tracks(ids, np.ones(count, np.int64), position, still, still, covariance, shape, age)

    @property
    def keypoints(self) -> Floats:
        """Where the keypoints should be, ``[T, K, 2]`` in pixels."""
        return self.position[:, None] + self.shape

    @property
    def lost(self) -> Floats:
        """For how many seconds ``[T]`` nothing was seen of each."""
        return self.age.min(axis=1)

    @property
    def blur(self) -> Floats:
        """Standard deviation ``[T]`` of the position, in person sizes."""
        return np.sqrt(self.covariance[:, 0])

    def sizes(self, memory: float) -> Floats:
        """Person sizes ``[T]`` in pixels, of the keypoints seen in the last `memory` seconds."""
        return body_size(self.shape, self.age <= memory)

    def pick(self, which: NDArray[Any]) -> Tracks:
        """Some of them, by a mask or by indices."""
        return Tracks(*(getattr(self, name)[which] for name in _names()))

    def join(self, others: Tracks) -> Tracks:
        """These and then the others."""
        pairs = ((getattr(self, name), getattr(others, name)) for name in _names())
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    def after(self, seconds: float, options: MotionOptions) -> Tracks:
        """The same people so many seconds later, if nothing is seen of them."""
        position, both, velocity = self.covariance.T
        unrest = options.agility**2
        covariance = [
            position + 2 * seconds * both + seconds**2 * velocity + unrest * seconds**3 / 3,
            both + seconds * velocity + unrest * seconds**2 / 2,
            velocity + unrest * seconds,
        ]
        calm = np.where(self.lost > 0, _share(seconds, options.calm_seconds), 0.0)[:, None]
        speed = self.velocity + calm * (self.cruise - self.velocity)
        moved, age = self.position + seconds * speed, np.minimum(self.age + seconds, _NEVER)
        return Tracks(
            self.ids, self.sightings, moved, speed, self.cruise, np.stack(covariance, axis=1), self.shape, age
        )

    def seen(self, xy: Floats, weights: Floats, trust: Floats, seconds: float, options: MotionOptions) -> Tracks:
        """The same people after a look at each of them.

        Args:
            xy: the keypoints that were found, ``[T, K, 2]`` in pixels.
            weights: ``[T, K]``, 0 where a keypoint was not found; how much each says of where the body is if it was
                known before, above 0 if not.
            trust: ``[T]`` in 0..1: how much of the person was seen as expected; the less, the less a look says of
                the motion.
            seconds: since the last look.
            options: of the motion.
        """
        offsets = xy - self.keypoints
        shares = np.where(self.age < _NEVER, weights, 0.0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        moved = (shares[..., None] * offsets).sum(axis=1)
        change = offsets - moved[:, None]
        covariance, gains = self._gains(options.noise / np.maximum(trust, _LEAST_TRUST) ** 2)
        velocity = self.velocity + gains[:, 1:] * moved
        average = np.maximum(trust * _share(seconds, options.cruise_seconds), 1 / (self.sightings + 1))
        # The body's motion is the filter's; only the rest is a change of shape, or the velocity would be learnt late.
        follow = np.where(self.age < _NEVER, _share(np.maximum(self.age, seconds), options.shape_seconds), 1.0)
        return Tracks(
            self.ids,
            self.sightings + 1,
            self.position + gains[:, :1] * moved,
            velocity,
            self.cruise + average[:, None] * (velocity - self.cruise),
            covariance,
            np.where(weights[..., None] > 0, self.shape + follow[..., None] * change, self.shape),
            np.where(weights > 0, 0.0, self.age),
        )

    def _gains(self, noise: Floats) -> tuple[Floats, Floats]:
        """Covariance ``[T, 3]`` after looks so noisy, and what position and velocity take of an offset, ``[T, 2]``."""
        gains = self.covariance[:, :2] / (self.covariance[:, :1] + noise[:, None] ** 2)
        position, both, velocity = self.covariance.T
        left = 1 - gains[:, 0]
        return np.stack([position * left, both * left, velocity - gains[:, 1] * both], axis=1), gains

    def state(self) -> dict[str, Any]:
        """All of it as JSON values, exactly."""
        return {name: getattr(self, name).tolist() for name in _names()}

    @staticmethod
    def of_state(state: Mapping[str, Any], keypoints: int) -> Tracks:
        """The people of a `state`, of a skeleton with so many keypoints.

        Raises:
            TrackingStateError: it is not one, or of another skeleton.
        """
        empty = Tracks.none(keypoints)
        try:
            like = {name: getattr(empty, name) for name in _names()}
            arrays = {name: np.array(state[name], array.dtype) for name, array in like.items()}
            count = len(arrays["ids"])
            return Tracks(**{name: array.reshape(count, *like[name].shape[1:]) for name, array in arrays.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise TrackingStateError(f"not the state of a tracker of {keypoints} keypoints: {error}") from error


def _share(seconds: Any, constant: float) -> Any:
    """How much of the way to a new value an exponential average goes in this time."""
    return 1 - np.exp(-seconds / constant)


@cache
def _names() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Tracks))
