"""Who is who over the frames of a video: ids, smoothing, and the frames between those that were looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from service.jobs.options import VideoOptions
from service.media.frame import VideoFrame
from service.media.reader import Position
from service.tracking.interpolation import interpolate
from service.tracking.smoothing import Smoother
from service.tracking.tracked import Tracked
from service.tracking.tracker import Tracker
from service.video.estimating import Estimated
from service.video.head_count import HeadCount
from shared.assembly import People
from shared.schema import Frame, ModelRef, frame_from_people
from shared.skeleton import Skeleton


class Annotated(NamedTuple):
    """A frame with its people, final.

    Attributes:
        frame: as it was decoded.
        people: in its pixels.
        ids: one for each person, None without tracking.
        timing_ms: milliseconds of the phases; empty for a frame between two that were looked at.
    """

    frame: VideoFrame
    people: People
    ids: tuple[int | None, ...]
    timing_ms: dict[str, float]

    def wire(self, skeleton: Skeleton, model: ModelRef) -> Frame:
        """The wire object."""
        return frame_from_people(
            self.people,
            skeleton,
            self.frame.width,
            self.frame.height,
            model,
            self.timing_ms,
            index=self.frame.index,
            timestamp=self.frame.timestamp,
            ids=self.ids,
        )


class Annotation:
    """Takes estimated frames in order and gives annotated ones, each once, in order.

    With ``every = n``, frames wait until the next one that is looked at; at the end of the video the last ones keep
    the people of the last frame that was looked at. `state` and `restore` carry everything over a crash: with them,
    what is given does not depend on where the work was cut.
    """

    def __init__(self, skeleton: Skeleton, options: VideoOptions) -> None:
        self._skeleton = skeleton
        self._options = options
        self._tracker = Tracker(skeleton) if options.track or options.smooth or options.every > 1 else None
        self._smoother = Smoother(skeleton) if options.smooth else None
        self._waiting: list[Estimated] = []
        self._before: Tracked | None = None
        self._settled: Position | None = None
        self._known: int | None = None
        self._head_count = HeadCount()

    @property
    def people_seen(self) -> int | None:
        """How many people there were so far; None without tracking."""
        return self._head_count.people if self._options.track else None

    def looks_at(self, frame: VideoFrame) -> bool:
        """Whether the engine has to see this frame."""
        return frame.index % self._options.every == 0 and frame.index != self._known

    def feed(self, estimated: Estimated) -> list[Annotated]:
        """Take the next frame; give those that are final now."""
        if self._settled is not None and estimated.frame.index <= self._settled.index:
            return []  # read again only to begin behind it
        if estimated.people is None:
            self._waiting.append(estimated)
            return []
        now = self._track(estimated.people, estimated.frame.timestamp)
        final = self._release(now, estimated.frame.timestamp)
        self._before, self._waiting = now, [estimated]
        return final + (self._release(None, 0.0) if self._options.every == 1 else [])

    def over(self, stream: Iterable[Estimated]) -> Iterator[Annotated]:
        """All frames of a whole video."""
        for estimated in stream:
            yield from self.feed(estimated)
        yield from self.finish()

    def finish(self) -> list[Annotated]:
        """The video is over: the frames that still waited."""
        return self._release(None, 0.0)

    def state(self) -> dict[str, Any]:
        """All that the next frame depends on, fit for JSON."""
        first = self._waiting[0].frame if self._waiting else None
        return {
            "settled": self._settled and [self._settled.index, self._settled.pts],
            "waiting": first and [first.index, first.pts],
            "before": self._before and _to_json(self._before) if first else None,
            "tracker": self._tracker and self._tracker.state(),
            "smoother": self._smoother and self._smoother.state(),
            "head_count": self._head_count.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> Position | None:
        """Go on from a state. Gives where reading has to begin: None for the start of the video."""
        self._settled = Position(*state["settled"]) if state["settled"] else None
        self._before = _from_json(state["before"], self._skeleton) if state["before"] else None
        self._head_count = HeadCount(state["head_count"])
        if self._tracker:
            self._tracker.restore(state["tracker"])
        if self._smoother:
            self._smoother.restore(state["smoother"])
        if state["waiting"] is None:
            return self._settled
        waiting = Position(*state["waiting"])
        self._known = waiting.index
        return waiting

    def _track(self, people: People, timestamp: float) -> Tracked:
        if self._tracker is None:
            return Tracked(people, (0,) * len(people.scores))
        tracked = self._tracker.update(people, timestamp)
        self._head_count.see(tracked.ids, timestamp)
        return self._smoother.update(tracked, timestamp) if self._smoother else tracked

    def _release(self, after: Tracked | None, timestamp: float) -> list[Annotated]:
        if not self._waiting:
            return []
        before = self._before or Tracked(People.none(self._skeleton), ())
        start = self._waiting[0].frame.timestamp
        final: list[Annotated] = []
        for frame, _, timing in self._waiting:
            share = (frame.timestamp - start) / (timestamp - start) if after and timestamp > start else 0.0
            between = interpolate(before, after, share, self._skeleton) if after and share > 0 else before
            final.append(Annotated(frame, between.people, self._given_ids(between), timing))
        last = self._waiting[-1].frame
        self._settled = Position(last.index, last.pts)
        self._waiting = []
        return final

    def _given_ids(self, tracked: Tracked) -> tuple[int | None, ...]:
        return tracked.ids if self._options.track else (None,) * len(tracked.ids)


def _to_json(tracked: Tracked) -> dict[str, Any]:
    people = tracked.people
    return {"keypoints": people.keypoints.tolist(), "scores": people.scores.tolist(), "ids": list(tracked.ids)}


def _from_json(stored: Mapping[str, Any], skeleton: Skeleton) -> Tracked:
    shape = (len(stored["ids"]), skeleton.num_keypoints, 3)
    keypoints = np.array(stored["keypoints"], np.float32).reshape(shape)
    return Tracked(People(keypoints, np.array(stored["scores"], np.float32)), tuple(stored["ids"]))
