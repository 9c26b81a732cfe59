"""A video annotated in one go, in this process: what ``yaop video`` does without a server."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.batching import Batcher, EngineFailed
from service.jobs.options import VideoOptions
from service.media.codecs import find_codec
from service.media.limits import VideoLimits
from service.media.mux import mux_video
from service.media.probe import VideoInfo, probe_video
from service.media.reader import VideoReader
from service.models import LANES, LoadedModel, engine_pool
from service.process import tune_process
from service.video.annotation import Annotation
from service.video.estimating import Estimating
from service.video.rate import constant_fps, fps_of_result, frames_of_result
from service.video.sinks import PictureSink, PoseSink, Sink
from shared.bundle import Bundle
from shared.errors import YaopError
from shared.inference.engine import Engine
from shared.schema import Frame

# What the batcher logs of a failed call is raised here, and told in one line; unheard, it would go to the terminal.
logging.getLogger("service.batching").addHandler(logging.NullHandler())

_WAITING_INPUTS = 64
_OWN_VIDEO = VideoLimits(max_pixels=2**28, max_seconds=1e7, max_frames=2**53, probe_seconds=3600.0)
"""The user's own files: the limits guard against files that hang or eat memory, not against long films."""


@dataclass(frozen=True)
class LocalResult:
    """What was done.

    Attributes:
        frames: of the result.
        people_seen: how many different people; None without tracking.
        warnings: what was wrong with the source and passed over.
    """

    frames: int
    people_seen: int | None
    warnings: list[str]


def annotate_file(
    source: Path,
    out: Path | None,
    poses: Callable[[Frame], object] | None,
    options: VideoOptions,
    bundle: Bundle,
    engine: Engine,
    progress: Callable[[int, int], object],
) -> LocalResult:
    """Annotate a video file.

    Args:
        source: the video.
        out: where the annotated video goes, complete or not at all; None for nowhere.
        poses: gets the people of each frame, in order; None if nobody wants them.
        options: how to look, draw and encode; `model` is not used.
        bundle: the model.
        engine: what runs it; stays open.
        progress: told how many frames are done, and of how many.

    Raises:
        VideoError: the source cannot be read as a video. YaopError: the engine failed, or `out` cannot be written.
    """
    tune_process()
    info = probe_video(source, _OWN_VIDEO)
    model = LoadedModel(bundle, engine, pool=engine_pool(bundle, 0) if engine.name == "litert" else None)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(_folder_beside(out)))
        sinks: list[Sink] = []
        if out is not None:
            fps = fps_of_result(options, info)
            aspect = info.sample_aspect
            sinks.append(PictureSink(folder / "pictures.nut", options, model.skeleton, fps=fps, sample_aspect=aspect))
        if poses is not None:
            sinks.append(PoseSink(poses, model.skeleton, model.ref))
        for sink in sinks:
            stack.callback(sink.abort)
        if model.pool is not None:
            stack.callback(model.pool.close)
        try:
            result = _annotate(source, info, options, model, sinks, progress)
        except EngineFailed as error:
            raise YaopError(f"the engine failed: {error.__cause__ or error}") from error
        if out is not None:
            result.warnings.extend(_mux(folder, source, info, options, out))
    return result


def _annotate(
    source: Path,
    info: VideoInfo,
    options: VideoOptions,
    model: LoadedModel,
    sinks: list[Sink],
    progress: Callable[[int, int], object],
) -> LocalResult:
    annotation = Annotation(model.skeleton, options)
    total = frames_of_result(options, info)
    done = 0
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(VideoReader(source, info, _OWN_VIDEO, fps=constant_fps(options, info)))
        batcher = Batcher(_WAITING_INPUTS, lanes=LANES if model.pool else 0)
        stack.callback(batcher.close)
        looks_at = annotation.looks_at
        stream = stack.enter_context(Estimating(reader, batcher, model, options.pose_options(), looks_at=looks_at))
        for final in annotation.over(stream):
            for sink in sinks:
                sink.write(final)
            done += 1
            progress(done, max(total, done))
        for sink in sinks:
            sink.close()
        return LocalResult(done, annotation.people_seen, [*info.warnings, *reader.skipped])


def _mux(folder: Path, source: Path, info: VideoInfo, options: VideoOptions, out: Path) -> list[str]:
    codec = find_codec(options.codec)
    muxed = mux_video(
        [folder / "pictures.nut"],
        out,
        codec,
        fps=fps_of_result(options, info),
        audio_from=source if info.audio else None,
        first_pts=info.first_pts,
        limits=_OWN_VIDEO,
    )
    return list(muxed.warnings)


def _folder_beside(out: Path | None) -> tempfile.TemporaryDirectory[str]:
    """On the disk of the result, which has room for it."""
    try:
        return tempfile.TemporaryDirectory(prefix=".yaop-", dir=out.absolute().parent if out else None)
    except OSError as error:
        raise YaopError(f"{out}: {error.strerror or error}") from error
