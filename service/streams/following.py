"""Who is who over the pictures of a stream, and steady keypoints, as long as its options want that."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from service.streams.messages import StreamOptions
from service.tracking.smoothing import Smoother
from service.tracking.tracked import Tracked
from service.tracking.tracker import Tracker
from shared.assembly import People
from shared.geometry import resize_points
from shared.skeleton import Skeleton

Size = tuple[int, int]
"""Width and height of a picture in pixels."""


class Following:
    """Ids and smoothing of one stream.

    Its pictures may change their size, as a client's do that sends larger ones for a higher resolution: people are
    followed in pixels of the first one. They are so as long as the shape stays; after a turn or a crop nothing is
    where it was, and everybody is new.

    Args:
        skeleton: of its people.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._tracker: Tracker | None = None
        self._smoother: Smoother | None = None
        self._next_id = 1
        self._size: Size | None = None  # of the pictures as they are followed

    def update(
        self, people: People, size: Size, timestamp: float, options: StreamOptions
    ) -> tuple[People, tuple[int, ...] | None]:
        """The people of the next picture, smoothed if they are to be, with their ids, if they are to have some.

        Args:
            people: in pixels of the picture.
            size: of the picture.
            timestamp: of the picture in seconds.
            options: as they are now. People of a picture after one without tracking get new ids.
        """
        if not options.track:
            self._stop()
            return people, None
        if self._size is None or not _same_shape(size, self._size):
            self._stop()
            self._size = size
        tracked = self._tracked(_resized(people, size, self._size), timestamp)
        if not options.smooth:
            self._smoother = None
            return people, tracked.ids
        self._smoother = self._smoother or Smoother(self._skeleton)
        smoothed = self._smoother.update(tracked, timestamp)
        return _resized(smoothed.people, self._size, size), smoothed.ids

    def _tracked(self, people: People, timestamp: float) -> Tracked:
        if self._tracker is None:
            self._tracker = Tracker(self._skeleton)
            self._tracker.restore(self._tracker.state() | {"next_id": self._next_id})
        return self._tracker.update(people, timestamp)

    def _stop(self) -> None:
        if self._tracker is not None:
            self._next_id = self._tracker.state()["next_id"]
        self._tracker = self._smoother = self._size = None


def load_tracking() -> None:
    """Import what the first picture of a stream would otherwise wait half a second for."""
    import_module("scipy.optimize")


def _same_shape(one: Size, other: Size) -> bool:
    """Whether two pictures may be the same one in two sizes, with sides off by what rounding costs."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= sum(one) + sum(other)


def _resized(people: People, size: Size, wanted: Size) -> People:
    """People in pixels of a picture of one size, in pixels of it in another."""
    if size == wanted:
        return people
    keypoints = people.keypoints.copy()
    xy, present = keypoints[..., :2], keypoints[..., 2:] > 0
    keypoints[..., :2] = np.where(present, resize_points(xy.astype(float), np.divide(wanted, size)), xy)
    return People(keypoints, people.scores)
