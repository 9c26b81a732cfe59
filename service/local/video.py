"""``yaop video`` without a server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service.media.pose_files import coco_stream, csv_stream, openpose_stream, read_frames
from service.media.video_errors import VideoError
from service.progress import Display
from service.video_run import STDOUT, VideoRun, forget_stdout
from shared.bundle import Bundle
from shared.errors import YaopError
from shared.files import atomic_write
from shared.inference.engine import Engine
from shared.schema import Frame, require_body_18

TakeFrame = Callable[[Frame], object]


def annotate_here(run: VideoRun, bundle: Bundle, engine: Engine, display: Display) -> None:
    """Annotate a video in this process.

    Args:
        run: what to do.
        bundle: the model.
        engine: what runs it.
        display: shows how far it is.

    Raises:
        YaopError: it could not be done; no target is there then, or those that were are as they were.
    """
    from service.video.local import annotate_file

    if run.data is not None and run.layout in ("openpose", "coco"):
        require_body_18(bundle.skeleton)

    def progress(done: int, total: int) -> None:
        display.advance("Annotating", done, total, "frames")

    if run.out is not None:
        _make_folder(run.out.parent)
    with _poses_written(run) as poses:
        try:
            result = annotate_file(run.source, run.out, poses, run.options, bundle, engine, progress)
        except VideoError as error:
            raise YaopError(f"{run.source}: {error}") from error
    for warning in result.warnings:
        display.note(f"warning: {run.source}: {warning}")


@contextmanager
def _poses_written(run: VideoRun) -> Iterator[TakeFrame | None]:
    """What takes the poses; they are where they have to be at the end of the block."""
    if run.data is None:
        yield None
        return
    with _target(run.data) as target:
        if run.layout == "native":
            take = _lines_to(target, follow=run.data == STDOUT)
            yield take if run.out is None else _unless_left(take)
            return
        with tempfile.TemporaryDirectory(prefix="yaop-") as folder:
            lines = Path(folder) / "poses.jsonl"
            with lines.open("wb") as stream:
                yield _lines_to(stream, follow=False)
            _write_layout(run, read_frames(lines), target)


def _make_folder(folder: Path) -> None:
    """Make a folder, with all above it, if it is not there.

    Raises:
        YaopError: that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise YaopError(f"{folder}: {error.strerror or error}") from error


def _write_layout(run: VideoRun, frames: Iterator[Frame], target: BinaryIO) -> None:
    if run.layout == "openpose":
        pieces = openpose_stream(frames, run.source.stem)
    else:
        pieces = csv_stream(frames) if run.layout == "csv" else coco_stream(frames)
    for piece in pieces:
        target.write(piece)


@contextmanager
def _target(data: str) -> Iterator[BinaryIO]:
    if data == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with atomic_write(Path(data)) as stream:
        yield stream


def _lines_to(stream: BinaryIO, *, follow: bool) -> TakeFrame:
    """Writes each frame as a line of JSON; at once if the reader of a pipe may want to follow."""

    def take(frame: Frame) -> None:
        stream.write(frame.model_dump_json().encode() + b"\n")
        if follow:
            stream.flush()

    return take


def _unless_left(take: TakeFrame) -> TakeFrame:
    """Lets a video be finished whose poses nobody reads any more."""

    def take_or_not(frame: Frame) -> None:
        try:
            take(frame)
        except BrokenPipeError:
            forget_stdout()

    return take_or_not
