"""Does the work of one job, step by step; `service.jobs.workflow` makes the steps durable."""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from service.batching import Batcher, Closed, EngineFailed
from service.jobs.job import POSES, SOURCE, JobFailed, JobOutput, JobSpec
from service.jobs.metrics import JobMetrics
from service.jobs.records import JobRecords
from service.jobs.storage import Storage
from service.media.codecs import find_codec
from service.media.limits import VideoLimits
from service.media.mux import mux_video
from service.media.video_errors import VideoError
from service.models import LoadedModel, ModelRepository
from service.video.chunks import ChunkedVideo, ChunkEnd
from service.video.rate import fps_of_result
from shared.errors import YaopError

logger = logging.getLogger(__name__)

VIDEO = "video"

_MOST_ATTEMPTS = 20
_SECONDS_BETWEEN_NOTES = 0.5


class Interrupted(BaseException):
    """The process is stopping. Not an Exception, so that DBOS leaves the job as it is: to be taken up again."""


class JobRunner:
    """What running jobs needs in this process.

    Args:
        models: gives the loaded models, which stay open until its block ends.
        batcher: the queue in front of the engine.
        storage: of the artifacts.
        records: where progress is told.
        limits: for decoding.
        metrics: where it is counted what jobs come to; None: nowhere.
    """

    def __init__(
        self,
        models: Callable[[], AbstractContextManager[ModelRepository]],
        batcher: Batcher,
        storage: Storage,
        records: JobRecords,
        limits: VideoLimits,
        metrics: JobMetrics | None = None,
    ) -> None:
        self.stopping = threading.Event()
        self._idle = threading.Condition()
        self._active = 0
        self.storage = storage
        self.records = records
        self.metrics = metrics or JobMetrics()
        self._models = models
        self._batcher = batcher
        self._limits = limits

    @contextmanager
    def working_on(self, spec: JobSpec) -> Iterator[RunningJob]:
        """The job, with its model, until the end of the block.

        Raises:
            Interrupted: the process is stopping.
            JobFailed: it was begun too often without getting on, or its model is not loaded here.
        """
        with self._counted(), self._models() as repository:
            attempts = self._count_attempt(spec.id)
            if attempts > _MOST_ATTEMPTS:
                raise JobFailed("too-many-attempts", f"The work on this video broke off {attempts - 1} times in a row.")
            model = repository.get(spec.options.model)
            if model is None:
                raise JobFailed("model-not-loaded", f"The model {spec.options.model} is not loaded any more.")
            running = RunningJob(self, spec, model, self._batcher, self._limits)
            try:
                yield running
            finally:
                running.close()

    def sleep(self, seconds: float) -> None:
        """Wait before another try.

        Raises:
            Interrupted: the process is stopping.
        """
        if self.stopping.wait(seconds):
            raise Interrupted

    def _count_attempt(self, job_id: str) -> int:
        try:
            return self.records.count_attempt(job_id)
        except SQLAlchemyError:  # the count guards against jobs that kill their process; it must not fail one itself
            logger.warning("an attempt could not be counted", exc_info=True, extra={"job": job_id})
            return 1

    def discard(self, job_id: str) -> None:
        """Remove the files of a job that comes to nothing; what cannot be removed now is left to retention."""
        try:
            self.storage.remove(job_id)
        except OSError:
            logger.warning("files of a job could not be removed", exc_info=True, extra={"job": job_id})

    def stop(self, seconds: float) -> None:
        """Interrupt all jobs at their next frame, let none begin, and wait for so long until nothing runs."""
        self.stopping.set()
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0, seconds)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self.stopping.is_set():
            raise Interrupted
        with self._idle:
            self._active += 1
        try:
            yield
        finally:
            with self._idle:
                self._active -= 1
                self._idle.notify_all()


@dataclass
class Done:
    """What the chunks so far have made.

    Attributes:
        frames: how many.
        segments, poses: names of the files.
        people_seen, warnings: as in the last `ChunkEnd`.
    """

    frames: int = 0
    segments: list[str] = field(default_factory=list[str])
    poses: list[str] = field(default_factory=list[str])
    people_seen: int | None = None
    warnings: list[str] = field(default_factory=list[str])

    def add(self, end: ChunkEnd) -> None:
        """One more chunk."""
        self.frames, self.people_seen, self.warnings = end.frames, end.people_seen, end.warnings
        self.segments += [end.segment] if end.segment else []
        self.poses += [end.poses] if end.poses else []


class RunningJob:
    """One job under way in this process."""

    def __init__(
        self, runner: JobRunner, spec: JobSpec, model: LoadedModel, batcher: Batcher, limits: VideoLimits
    ) -> None:
        self._runner = runner
        self._spec = spec
        self._model = model
        self._batcher = batcher
        self._limits = limits
        self._video: ChunkedVideo | None = None
        self._noted = 0.0
        self._began: tuple[float, int] | None = None

    def chunk(self, before: dict[str, Any] | None) -> dict[str, Any]:
        """Annotate the next chunk. `before` and the result are JSON of `ChunkEnd`."""
        try:
            end = self._open().chunk(ChunkEnd.model_validate(before) if before else None)
        except Closed:
            raise Interrupted from None
        except Exception:
            self.close()  # another try begins with what is on record
            raise
        self._note(end.frames, durable=True)
        return end.model_dump()

    def finish(self, done: Done) -> dict[str, Any]:
        """Put the segments and the source's sound together. The result is JSON of a `JobOutput` and warnings."""
        spec, storage = self._spec, self._runner.storage
        if not done.frames:
            raise JobFailed("video-no-frames", "The video has no frame that can be decoded.")
        codec = find_codec(spec.options.codec)
        # A worker that was taken for dead may be at the same: no two attempts write to one file.
        out = storage.scratch(spec.id) / f"{uuid.uuid4().hex}{codec.suffix}"
        segments = [storage.fetch(spec.id, name) for name in done.segments]
        muxed = mux_video(
            segments,
            out,
            codec,
            fps=fps_of_result(spec.options, spec.source),
            audio_from=storage.fetch(spec.id, SOURCE) if spec.source.audio else None,
            first_pts=spec.source.first_pts,
            limits=self._limits,
        )
        if muxed.frames != done.frames:
            raise YaopError(f"{muxed.frames} frames were written in place of {done.frames}")
        self._join_poses(done.poses)
        storage.put(spec.id, f"{VIDEO}{codec.suffix}", out)
        output = JobOutput(
            codec=codec.name,
            media_type=codec.media_type,
            suffix=codec.suffix,
            bytes=muxed.bytes,
            frames=muxed.frames,
            seconds=muxed.seconds,
            width=spec.source.width,
            height=spec.source.height,
            people_seen=done.people_seen,
            model=self._model.ref,
        )
        return {"output": output.model_dump(), "warnings": [*done.warnings, *muxed.warnings]}

    def clean_up(self) -> None:
        """The result is there; what it was made of may go, and what broken off attempts have left."""
        storage, job_id = self._runner.storage, self._spec.id
        try:
            for name in storage.names(job_id):
                if name.startswith("segments/") or name == SOURCE:
                    storage.remove_file(job_id, name)
            storage.drop_scratch(job_id)
        except Exception:  # the job is done; retention looks after what is left
            logger.warning("files of a job could not be removed", exc_info=True, extra={"job": job_id})

    def close(self) -> None:
        """Stop reading."""
        video, self._video = self._video, None
        if video is not None:
            video.close()

    def _open(self) -> ChunkedVideo:
        if self._video is None:
            spec, storage = self._spec, self._runner.storage
            self._video = ChunkedVideo(
                spec,
                storage.fetch(spec.id, SOURCE),
                storage.scratch(spec.id),
                lambda name, file: storage.put(spec.id, name, file),
                batcher=self._batcher,
                model=self._model,
                limits=self._limits,
                progress=self._progress,
            )
        return self._video

    def _join_poses(self, names: Sequence[str]) -> None:
        path = self._runner.storage.scratch(self._spec.id) / f"{uuid.uuid4().hex}.jsonl"
        with path.open("wb") as joined:
            for name in names:
                with self._runner.storage.fetch(self._spec.id, name).open("rb") as part:
                    shutil.copyfileobj(part, joined)
        self._runner.storage.put(self._spec.id, POSES, path)

    def _progress(self, frames_done: int) -> None:
        if self._runner.stopping.is_set():
            raise Interrupted
        self._runner.metrics.count_frame()
        if time.monotonic() - self._noted > _SECONDS_BETWEEN_NOTES:
            self._note(frames_done, durable=False)

    def _note(self, frames_done: int, *, durable: bool) -> None:
        now = self._noted = time.monotonic()
        self._began = self._began or (now, frames_done)
        seconds, frames = now - self._began[0], frames_done - self._began[1]
        try:
            fps = round(frames / seconds, 2) if seconds > 0 and frames > 0 else None
            self._runner.records.note_progress(self._spec.id, frames_done, fps, durable=durable)
        except SQLAlchemyError:  # only told; the step's own record decides
            logger.warning("progress could not be written", exc_info=True, extra={"job": self._spec.id})


def told_as_problem(error: Exception) -> JobFailed:
    """Why a job failed, for its client; what nobody expects is logged, and may pass (`JobFailed.final`)."""
    if isinstance(error, JobFailed):
        return error
    if _is_disk_full(error):
        return JobFailed("disk-full", "The disk of the service is full.")
    if isinstance(error, VideoError):
        return JobFailed(f"video-{error.reason}", str(error), final=error.reason != "interrupted")
    if isinstance(error, EngineFailed):
        return JobFailed("engine-failed", "The engine failed on this video. The log says why.")
    logger.error("a step of a video job failed", exc_info=error)
    return JobFailed(
        "internal-error", "Something failed in the service. The job's id finds it in its log.", final=False
    )


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False
