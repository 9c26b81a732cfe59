"""Who is who from frame to frame: people are matched to those who are followed, by where those should be by now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.tracking.elapsed import elapsed
from service.tracking.similarity import Likeness, compare
from service.tracking.tracked import Tracked, TrackingStateError
from service.tracking.tracks import MotionOptions, Tracks
from shared.assembly import People
from shared.skeleton import Skeleton

_LEAST_WEIGHT = 1e-3  # of a keypoint that does not fit at all, so that there is always one to go by


@dataclass(frozen=True)
class TrackerOptions:
    """When a person is the same person. `benchmarks.tracking` shows what the defaults are worth.

    Attributes:
        max_lost_seconds: for so long somebody out of sight keeps the id.
        sure_sightings: who was seen in fewer frames is waited for in proportion, so that what is found by
            mistake doesn't linger.
        min_similarity: people less alike than this (OKS with the tolerance of `service.tracking.similarity`) are
            two people.
        lost_value: a match with somebody out of sight counts this much of one with somebody in sight, so that people
            who come back don't push others out of their ids.
        new_value: likewise for somebody who was never seen before, rising to 1 with `sure_sightings`, so that what is
            found by mistake does not take over people.
        max_blur: person sizes; limit of what uncertainty of motion adds to the tolerance for somebody out of sight.
        limb_speed: person sizes a second by which the limbs of people out of sight are expected to move.
        motion: of the bodies.
    """

    max_lost_seconds: float = 2.0
    sure_sightings: int = 8
    min_similarity: float = 0.1
    lost_value: float = 0.8
    new_value: float = 0.4
    max_blur: float = 0.3
    limb_speed: float = 0.3
    motion: MotionOptions = MotionOptions()


class Tracker:
    """Gives the people of successive frames ids that survive short occlusions and crossings.

    Nothing but keypoints is looked at, so two people who meet out of sight and turn back can't be told from two who
    pass each other.

    Args:
        skeleton: of the people.
        options: when a person is the same person.
    """

    def __init__(self, skeleton: Skeleton, options: TrackerOptions = TrackerOptions()) -> None:
        self._skeleton = skeleton
        self._options = options
        self._tracks = Tracks.none(skeleton.num_keypoints)
        self._next_id = 1
        self._timestamp: float | None = None

    def update(self, people: People, timestamp: float) -> Tracked:
        """The people of the next frame, as they are and in the same order, with ids.

        Args:
            people: of the frame.
            timestamp: of the frame in seconds; the steps need not be equal. One that is not later than the last
                counts as no time having passed.
        """
        seconds, self._timestamp = elapsed(self._timestamp, timestamp)
        tracks = self._still_followed(self._tracks.after(seconds, self._options.motion), seconds)
        xy, present = people.keypoints[..., :2].astype(np.float64), people.keypoints[..., 2] > 0
        likeness = self._compare(tracks, xy, present, seconds)
        rows, columns = self._match(tracks, likeness, seconds)
        alike = likeness.keypoints[rows, columns]
        seen = self._look(tracks.pick(rows), xy[columns], present[columns], alike, seconds)

        new = _others(len(xy), columns)
        begun = Tracks.begin(self._new_ids(len(new)), xy[new], present[new], self._options.motion)
        waiting = tracks.pick(_others(len(tracks.ids), rows))
        self._tracks = seen.join(begun).join(waiting)
        ids = np.empty(len(xy), np.int64)
        ids[columns], ids[new] = seen.ids, begun.ids
        return Tracked(people, tuple(ids.tolist()))

    def state(self) -> dict[str, Any]:
        """Everything the next frame needs, as JSON values; a tracker that it is restored to goes on identically."""
        return {"next_id": self._next_id, "timestamp": self._timestamp, "tracks": self._tracks.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of a tracker with this skeleton.

        Raises:
            TrackingStateError: it is not one, or of another skeleton; the tracker stays as it was.
        """
        try:
            next_id, timestamp, tracks = int(state["next_id"]), state["timestamp"], state["tracks"]
        except (KeyError, TypeError, ValueError) as error:
            raise TrackingStateError(f"not the state of a tracker: {error}") from error
        self._tracks = Tracks.of_state(tracks, self._skeleton.num_keypoints)
        self._next_id, self._timestamp = next_id, timestamp

    def _still_followed(self, tracks: Tracks, seconds: float) -> Tracks:
        longest = self._options.max_lost_seconds
        patience = np.maximum(self._sureness(tracks) * longest, min(seconds, longest))  # the last frame's may be old
        return tracks.pick(tracks.lost <= patience)

    def _sureness(self, tracks: Tracks) -> NDArray[np.float64]:
        return np.minimum(tracks.sightings / self._options.sure_sightings, 1.0)

    def _compare(self, tracks: Tracks, xy: NDArray[np.float64], present: NDArray[np.bool_], seconds: float) -> Likeness:
        options = self._options
        return compare(
            tracks,
            xy,
            present,
            self._skeleton,
            seconds=seconds,
            memory=options.max_lost_seconds,
            max_blur=options.max_blur,
            limb_speed=options.limb_speed,
        )

    def _match(self, tracks: Tracks, likeness: Likeness, seconds: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of tracks and of the people they are, by the best sum of similarities."""
        from scipy.optimize import linear_sum_assignment  # slow to import, and not needed by all who import this

        possible = likeness.oks >= self._options.min_similarity
        value = np.where(tracks.lost > seconds, self._options.lost_value, 1.0)
        value *= self._options.new_value + (1 - self._options.new_value) * self._sureness(tracks)
        rows, columns = linear_sum_assignment(np.where(possible, likeness.oks * value[:, None], 0.0), maximize=True)
        real = possible[rows, columns]
        return rows[real], columns[real]

    def _look(
        self,
        tracks: Tracks,
        xy: NDArray[np.float64],
        present: NDArray[np.bool_],
        alike: NDArray[np.float64],
        seconds: float,
    ) -> Tracks:
        """The tracks after a look at the people ``[T, K]`` who they are; steady keypoints that fit move them most."""
        steadiness = np.array(self._skeleton.sigmas) ** -2.0
        weights = np.where(present, steadiness * np.maximum(alike, _LEAST_WEIGHT), 0.0)
        expected = (tracks.age <= self._options.max_lost_seconds).sum(axis=1)
        trust = alike.sum(axis=1) / np.maximum(expected, 1)
        return tracks.seen(xy, weights, trust, seconds, self._options.motion)

    def _new_ids(self, count: int) -> NDArray[np.int64]:
        self._next_id += count
        return np.arange(self._next_id - count, self._next_id, dtype=np.int64)


def _others(count: int, taken: NDArray[np.intp]) -> NDArray[np.intp]:
    """The indices below `count` that are not among `taken`."""
    left = np.ones(count, bool)
    left[taken] = False
    return np.flatnonzero(left)
