"""Who is who over the pictures of a stream, and steady keypoints, as long as its options want that."""

from __future__ import annotations

from importlib import import_module

from service.streams.messages import StreamOptions
from service.tracking.smoothing import Smoother
from service.tracking.tracked import Tracked
from service.tracking.tracker import Tracker
from shared.assembly import People
from shared.skeleton import Skeleton


class Following:
    """Ids and smoothing of one stream.

    Args:
        skeleton: of its people.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._tracker: Tracker | None = None
        self._smoother: Smoother | None = None
        self._next_id = 1

    def update(self, people: People, timestamp: float, options: StreamOptions) -> tuple[People, tuple[int, ...] | None]:
        """The people of the next picture, smoothed if they are to be, with their ids, if they are to have some.

        Args:
            people: in pixels of the picture.
            timestamp: of the picture in seconds.
            options: as they are now. Tracking that is turned on again begins with new ids.
        """
        if not options.track:
            self._stop()
            return people, None
        tracked = self._tracked(people, timestamp)
        if not options.smooth:
            self._smoother = None
            return tracked
        self._smoother = self._smoother or Smoother(self._skeleton)
        return self._smoother.update(tracked, timestamp)

    def _tracked(self, people: People, timestamp: float) -> Tracked:
        if self._tracker is None:
            self._tracker = Tracker(self._skeleton)
            self._tracker.restore(self._tracker.state() | {"next_id": self._next_id})
        return self._tracker.update(people, timestamp)

    def _stop(self) -> None:
        if self._tracker is not None:
            self._next_id = self._tracker.state()["next_id"]
        self._tracker = self._smoother = None


def load_tracking() -> None:
    """Import what the first picture of a stream would otherwise wait half a second for."""
    import_module("scipy.optimize")
