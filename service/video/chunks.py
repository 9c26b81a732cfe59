"""A video's annotation in chunks: each is durable when it ends, and the next may begin in another process."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.batching import Batcher
from service.jobs.job import POSTER, JobSpec
from service.media.limits import VideoLimits
from service.media.reader import Position, VideoReader
from service.models import LoadedModel
from service.video.annotation import Annotation
from service.video.estimating import Estimating
from service.video.rate import constant_fps, fps_of_result
from service.video.sinks import PictureSink, PoseSink, Sink, lines_to

CHUNK_FRAMES = 60

Save = Callable[[str, Path], object]
"""Takes a name among the job's artifacts and a file, which it moves there for good."""


class ChunkEnd(BaseModel):
    """What is known when a chunk is done, and all that the next one needs. Stored as JSON.

    Attributes:
        frames: so many frames of the result are done, from the first chunk on.
        segment: name of the chunk's pictures among the job's artifacts; None if it had no frames.
        poses: name of the chunk's JSON Lines; likewise.
        last: nothing comes after it.
        poster: whether the poster that was saved shows people.
        people_seen: how many different people there were so far; None without tracking.
        state: of the annotation.
        warnings: about the source, so far.
    """

    frames: int
    segment: str | None
    poses: str | None
    last: bool
    poster: bool
    people_seen: int | None
    state: dict[str, Any]
    warnings: list[str]


class ChunkedVideo:
    """One job's video in this process. Frames are read and estimated ahead over the ends of chunks.

    Args:
        spec: the job.
        source: the upload, on this machine.
        scratch: a folder for files being written.
        save: keeps a finished file.
        batcher: the queue in front of the engine.
        model: what looks at the frames.
        limits: of the decoder.
        progress: told the number of frames done, after each.
    """

    def __init__(
        self,
        spec: JobSpec,
        source: Path,
        scratch: Path,
        save: Save,
        *,
        batcher: Batcher,
        model: LoadedModel,
        limits: VideoLimits,
        progress: Callable[[int], object],
    ) -> None:
        self._spec = spec
        self._source = source
        self._scratch = scratch
        self._save = save
        self._batcher = batcher
        self._model = model
        self._limits = limits
        self._progress = progress
        self._annotation = Annotation(model.skeleton, spec.options)
        self._reader: VideoReader | None = None
        self._stream: Estimating | None = None
        self._earlier_warnings: list[str] = []

    def chunk(self, before: ChunkEnd | None, frames: int = CHUNK_FRAMES) -> ChunkEnd:
        """Annotate the next frames, at least `frames` of them if there are so many.

        Args:
            before: the end of the chunk before; None for the first one.
            frames: how many.

        Raises:
            VideoError, Closed, EngineFailed, YaopError, OSError.
        """
        stream = self._open(before)
        number = f"{before.frames if before else 0:09d}-{uuid.uuid4().hex[:8]}"
        pictures, lines = self._scratch / f"{number}.nut", self._scratch / f"{number}.jsonl"
        poster = self._scratch / f"{number}.jpg"
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(lines.open("wb"))
            sink = PictureSink(
                pictures,
                self._spec.options,
                self._model.skeleton,
                fps=fps_of_result(self._spec.options, self._spec.source),
                sample_aspect=self._spec.source.sample_aspect,
                poster=None if before and before.poster else poster,
            )
            stack.callback(sink.abort)
            poses = PoseSink(lines_to(file), self._model.skeleton, self._model.ref)
            done, last = self._fill(stream, [sink, poses], before.frames if before else 0, frames)
            sink.close()
            file.flush()
            os.fsync(file.fileno())
        return self._keep(before, done, last, sink.poster_shows_people, (pictures, lines, poster))

    def close(self) -> None:
        """Stop reading."""
        if self._stream is not None:
            self._stream.close()
        if self._reader is not None:
            self._reader.close()

    def _open(self, before: ChunkEnd | None) -> Estimating:
        if self._stream is None:
            start: Position | None = None
            if before is not None:
                start = self._annotation.restore(before.state)
                self._earlier_warnings = before.warnings
            self._reader = VideoReader(
                self._source,
                self._spec.source,
                self._limits,
                start=start,
                fps=constant_fps(self._spec.options, self._spec.source),
            )
            self._stream = Estimating(
                self._reader,
                self._batcher,
                self._model,
                self._spec.options.pose_options(),
                looks_at=self._annotation.looks_at,
            )
        return self._stream

    def _fill(self, stream: Estimating, sinks: list[Sink], done: int, frames: int) -> tuple[int, bool]:
        goal = done + frames
        while done < goal:
            estimated = next(stream, None)
            annotated = self._annotation.finish() if estimated is None else self._annotation.feed(estimated)
            for item in annotated:
                for sink in sinks:
                    sink.write(item)
                done += 1
                self._progress(done)
            if estimated is None:
                return done, True
        return done, False

    def _keep(
        self, before: ChunkEnd | None, done: int, last: bool, poster: bool, files: tuple[Path, Path, Path]
    ) -> ChunkEnd:
        pictures, lines, picture = files
        first = before.frames if before else 0
        if picture.exists():
            self._save(POSTER, picture)
        if done > first:
            self._save(f"segments/{pictures.name}", pictures)
            self._save(f"segments/{lines.name}", lines)
        else:
            lines.unlink()
        return ChunkEnd(
            frames=done,
            segment=f"segments/{pictures.name}" if done > first else None,
            poses=f"segments/{lines.name}" if done > first else None,
            last=last,
            poster=poster or bool(before and before.poster),
            people_seen=self._annotation.people_seen,
            state=self._annotation.state(),
            warnings=self._warnings(),
        )

    def _warnings(self) -> list[str]:
        found = self._reader.skipped if self._reader is not None else []
        return list(dict.fromkeys([*self._earlier_warnings, *found]))
