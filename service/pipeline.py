"""A picture's way through the service: decode, queue, network, assembly, each on its own threads.

The steps are those of `shared.inference.estimator`; what is added here is the batcher in the middle, the
limits around it and the time each phase took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from service.batching import Answer, BatchCall, Batcher, DeadlineExceeded, Priority
from service.metrics import Metrics
from service.models import FieldsOfOne, LoadedModel
from service.problems import problem_of
from service.workers import Workers
from shared.assembly import People
from shared.drawing import draw_people
from shared.image_headers import FORMATS
from shared.images import ImageFormat, decode_image, encode_image
from shared.inference.estimator import PoseOptions, Prepared, finish, prepare
from shared.skeleton import Skeleton


class Size(NamedTuple):
    """Of the upright source picture, in pixels."""

    width: int
    height: int


class PictureLimits(NamedTuple):
    """What is decoded: pictures of at most so many pixels (width times height), in one of these formats."""

    pixels: int
    formats: Sequence[ImageFormat] = FORMATS


@dataclass
class Stopwatch:
    """Milliseconds of one picture in each phase; what is in no phase was spent waiting."""

    started: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict[str, float])

    def timing_ms(self) -> dict[str, float]:
        """All phases so far, ``queue`` (waiting for a thread or the engine) and ``total``."""
        total = (time.monotonic() - self.started) * 1000
        return {**self.phases, "queue": max(0.0, total - sum(self.phases.values())), "total": total}

    def add(self, phase: str, since: float) -> None:
        """Count the time since `since` (of `time.monotonic`) as `phase`."""
        self.phases[phase] = self.phases.get(phase, 0.0) + (time.monotonic() - since) * 1000


@dataclass(frozen=True)
class Estimate:
    """The people of one picture, in its pixels."""

    people: People
    size: Size
    model: LoadedModel
    timing_ms: dict[str, float]


@dataclass(frozen=True)
class FieldsEstimate:
    """The network's raw output for one picture, and how the picture lay in the network's input."""

    fields: FieldsOfOne
    prepared: Prepared
    size: Size
    model: LoadedModel
    timing_ms: dict[str, float]


class Pipeline:
    """Estimates pictures for every route.

    Args:
        workers: threads for everything but the network, and the limit on pictures in progress.
        batcher: the queue in front of the engines.
        metrics: where outcomes and times are counted.
        deadline: seconds a picture may take.
        max_pixels: the largest picture that is decoded, where no other limits are given.
    """

    def __init__(
        self, workers: Workers, batcher: Batcher, metrics: Metrics, *, deadline: float, max_pixels: int
    ) -> None:
        self._workers = workers
        self._batcher = batcher
        self._metrics = metrics
        self._deadline = deadline
        self._limits = PictureLimits(max_pixels)

    def require_room(self) -> None:
        """Raise QueueFull if a picture sent now would be refused; asked before its body is read."""
        self._workers.require_room()

    async def estimate(
        self,
        data: bytes,
        model: LoadedModel,
        options: PoseOptions,
        priority: Priority = Priority.INTERACTIVE,
        *,
        limits: PictureLimits | None = None,
        watch: Stopwatch | None = None,
    ) -> Estimate:
        """Find the people in an encoded picture.

        Args:
            data: the encoded picture.
            model: finds them.
            options: how.
            priority: of its engine call.
            limits: of the picture; the pipeline's own if None.
            watch: runs since the picture arrived, if that was earlier.

        Raises:
            ImageError, RegionError, Unavailable, EngineFailed.
        """
        call = model.flipped_pose if options.flip else model.pose
        async with self._in_progress(model, watch) as watch:
            prepared, size = await self._workers.run(self._prepare, data, model, options, watch, limits or self._limits)
            answer = await self._run(call, model, prepared, priority, watch)
            people = await self._workers.run(self._finish, answer, prepared, model, options, watch)
            self._metrics.people.labels(model.name).inc(len(people.scores))
            return Estimate(people, size, model, self._observe(watch))

    async def fields(self, data: bytes, model: LoadedModel, options: PoseOptions) -> FieldsEstimate:
        """Run the network on an encoded picture and give its fields as they are. Raises like `estimate`."""
        call = model.flipped_fields if options.flip else model.fields
        async with self._in_progress(model) as watch:
            prepared, size = await self._workers.run(self._prepare, data, model, options, watch, self._limits)
            answer = await self._run(call, model, prepared, Priority.INTERACTIVE, watch)
            return FieldsEstimate(answer.value, prepared, size, model, self._observe(watch))

    async def overlay(self, data: bytes, estimate: Estimate, image_format: str) -> bytes:
        """The encoded picture again, with the people drawn on it, as ``jpeg`` or ``png``.

        It is decoded a second time, so that no picture's pixels are held while it waits for the engine.
        """
        people, skeleton, pixels = estimate.people, estimate.model.skeleton, self._limits.pixels
        return await self._workers.run(overlay, data, people, skeleton, image_format, pixels)

    @asynccontextmanager
    async def _in_progress(self, model: LoadedModel, watch: Stopwatch | None = None) -> AsyncIterator[Stopwatch]:
        try:
            with self._workers.admit():
                async with asyncio.timeout(self._deadline):
                    yield watch or Stopwatch()
        except TimeoutError:
            self._count(model, "deadline-exceeded")
            message = f"The picture was not done within {self._deadline:g} seconds."
            raise DeadlineExceeded(message, self._batcher.retry_after()) from None
        except Exception as error:
            problem = problem_of(error)
            self._count(model, problem.kind if problem else "internal-error")
            raise
        self._count(model, "ok")

    async def _run(
        self,
        call: BatchCall[object],
        model: LoadedModel,
        prepared: Prepared,
        priority: Priority,
        watch: Stopwatch,
    ) -> Answer:
        answer = await self._batcher.run(
            call,
            prepared.images[0],
            deadline=time.monotonic() + self._deadline,  # the whole picture's own is `_in_progress`'s
            priority=priority,
            limit=model.batch_limit,
        )
        watch.phases["network"] = answer.ran * 1000
        return answer

    def _prepare(
        self, data: bytes, model: LoadedModel, options: PoseOptions, watch: Stopwatch, limits: PictureLimits
    ) -> tuple[Prepared, Size]:
        start = time.monotonic()
        image = decode_image(data, *limits)
        size = Size(image.shape[1], image.shape[0])
        prepared = prepare(image, options, model.engine.shapes)
        watch.add("decode", start)
        return prepared, size

    def _finish(
        self, answer: Answer, prepared: Prepared, model: LoadedModel, options: PoseOptions, watch: Stopwatch
    ) -> People:
        start = time.monotonic()
        people = finish(answer.value.peaks, answer.value.limb_scores, prepared, options, model.skeleton)
        watch.add("assembly", start)
        return people

    def _observe(self, watch: Stopwatch) -> dict[str, float]:
        timing = watch.timing_ms()
        for phase, milliseconds in timing.items():
            self._metrics.phase_seconds.labels(phase).observe(milliseconds / 1000)
        return timing

    def _count(self, model: LoadedModel, outcome: str) -> None:
        self._metrics.pictures.labels(model.name, outcome).inc()


def overlay(data: bytes, people: People, skeleton: Skeleton, image_format: str, max_pixels: int) -> bytes:
    """An encoded picture again, with these people (in its pixels) drawn on it, as ``jpeg`` or ``png``.

    Raises:
        ImageError: it cannot be decoded.
    """
    drawn = draw_people(decode_image(data, max_pixels), people, skeleton)
    return encode_image(drawn, "png" if image_format == "png" else "jpeg")
