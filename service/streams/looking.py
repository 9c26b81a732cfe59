"""One picture of a stream after the other: the people in it, who they are, and the picture with them drawn on it."""

from __future__ import annotations

import dataclasses
import time
from typing import NamedTuple

from service.metrics import Metrics
from service.models import LoadedModel
from service.pipeline import Estimate, PictureLimits, Pipeline, Stopwatch, overlay
from service.problems import Problem
from service.reload import ServedModels
from service.streams.closing import CloseCode
from service.streams.ending import StreamEnd
from service.streams.following import Following
from service.streams.inbox import Picture
from service.streams.messages import StreamOptions
from service.workers import Workers
from shared.image_headers import ImageFormat
from shared.schema import Frame, frame_from_people

FORMATS: tuple[ImageFormat, ...] = ("jpeg", "webp")
"""What pictures of a stream may be: what cameras and browsers make."""


class Look(NamedTuple):
    """What was seen in a picture; `drawn` is the JPEG with the people on it, if that is wanted."""

    frame: Frame
    drawn: bytes | None


class Looker:
    """Looks at the pictures of one stream.

    The model is taken anew for each picture, so that a stream of hours neither misses a reload nor keeps the engines
    of before it.

    Args:
        model: that the stream began with.
        served: where its successors come from.
        pipeline, workers, metrics: of the application.
        limits: of the pictures.
    """

    def __init__(
        self,
        model: LoadedModel,
        served: ServedModels,
        pipeline: Pipeline,
        workers: Workers,
        metrics: Metrics,
        limits: PictureLimits,
    ) -> None:
        self._name = model.name
        self._skeleton = model.skeleton
        self._following = Following(model.skeleton)
        self._served = served
        self._pipeline = pipeline
        self._workers = workers
        self._metrics = metrics
        self._limits = limits

    async def look(self, picture: Picture, options: StreamOptions) -> Look:
        """Find the people of the next picture.

        Raises:
            StreamEnd: the model is not served any more, or not with the skeleton that the stream began with.
            ImageError, Unavailable, EngineFailed: this picture has no result.
        """
        watch = Stopwatch(picture.arrived)
        with self._served.use() as models:
            model = models.get(self._name)
            if model is None or model.skeleton != self._skeleton:
                detail = f"The model {self._name} has been replaced by another. Come back for that."
                raise StreamEnd(CloseCode.RESTART, Problem(503, "model-replaced", detail))
            estimate = await self._pipeline.estimate(
                picture.data, model, options.pose_options(), limits=self._limits, watch=watch
            )
            return await self._workers.run(self._finish, picture, estimate, options, watch)

    def _finish(self, picture: Picture, estimate: Estimate, options: StreamOptions, watch: Stopwatch) -> Look:
        start = time.monotonic()
        people, ids = self._following.update(estimate.people, estimate.size, picture.header.timestamp, options)
        watch.add("track", start)
        self._metrics.phase_seconds.labels("track").observe(watch.phases["track"] / 1000)
        drawn = None
        if options.draw:
            start = time.monotonic()
            drawn = overlay(picture.data, people, self._skeleton, "jpeg", self._limits.pixels)
            watch.add("draw", start)
        estimate = dataclasses.replace(estimate, people=people, timing_ms=watch.timing_ms())
        return Look(_frame(picture, estimate, ids), drawn)


def _frame(picture: Picture, estimate: Estimate, ids: tuple[int, ...] | None) -> Frame:
    return frame_from_people(
        estimate.people,
        estimate.model.skeleton,
        *estimate.size,
        estimate.model.ref,
        estimate.timing_ms,
        index=picture.header.sequence,
        timestamp=picture.header.timestamp,
        ids=ids,
    )
