"""The frames of a video, decoded in a child process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from service.media.child import Child, module_command
from service.media.frame import VideoFrame
from service.media.limits import DEFAULT_LIMITS, VideoLimits
from service.media.probe import VideoInfo
from service.media.resampling import resampled
from service.media.upright import UprightPlanes

MAX_NOTES = 100
_FULL_HD = 1920 * 1088
_START_CPU_SECONDS = 30.0


@dataclass(frozen=True)
class Position:
    """Where a reading begins: at the frame that has this index and pts.

    Attributes:
        index: `VideoFrame.index`.
        pts: `VideoFrame.pts`.
    """

    index: int
    pts: int


class VideoReader(AbstractContextManager["VideoReader"], Iterator[VideoFrame]):
    """The frames of a video in the order they are shown, each as soon as it is decoded.

    A reading that begins in the middle gives what an unbroken one gives from there on. Damaged frames are left out,
    or shown as far as they can be decoded, and are told in `skipped`. For one thread at a time.

    Args:
        path: the file.
        info: what `probe_video` says about it.
        limits: more is an error.
        start: the frame to begin with; the first one if left out. It must come from a reading with the same `fps`.
        fps: a constant frame rate: each frame shows what the source shows at its time, to the nearest half of a frame.
            Without, the source's frames and times are kept.

    Attributes:
        skipped: what was wrong so far, a sentence each; no more than `MAX_NOTES` and a last one that says so.

    Raises:
        VideoError: reading takes too long or too much memory, or the file is not what `info` says.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        limits: VideoLimits = DEFAULT_LIMITS,
        *,
        start: Position | None = None,
        fps: float | None = None,
    ) -> None:
        self.skipped: list[str] = []
        self._child = Child(module_command("service.media.reader_child"), _request(path, info, limits, start))
        index = 0 if start is None else start.index
        frames = _received(self._child, info, limits, self.skipped, index, whole=start is None)
        kept = (frame for frame, _ in frames)
        self._frames: Iterator[VideoFrame] = kept if fps is None else resampled(frames, fps, start and index)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> VideoFrame:
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child process; there are no more frames then."""
        self._child.close()
        self._frames = iter(())


def _request(path: Path, info: VideoInfo, limits: VideoLimits, start: Position | None) -> dict[str, Any]:
    cpu_seconds = _START_CPU_SECONDS + limits.frame_cpu_seconds * info.frames
    stored = info.stored_width * info.stored_height
    return {
        "path": str(path.absolute()),
        "start": None if start is None else start.pts,
        "width": info.stored_width,
        "height": info.stored_height,
        "matrix": info.matrix,
        "by_order": info.by_order,
        "step": info.step,
        "seekable": info.seekable,
        "max_pixels": limits.max_pixels,
        "threads": 1 if stored <= _FULL_HD else 2,
        "limits": {"memory_bytes": limits.memory_bytes, "cpu_seconds": cpu_seconds},
    }


def _received(
    child: Child, info: VideoInfo, limits: VideoLimits, skipped: list[str], index: int, *, whole: bool
) -> Iterator[tuple[VideoFrame, float]]:
    """Frames from the child, numbered from `index`, and the seconds each lasts. It must not know the reader.

    Whoever drops a reader drops the child with it; in a cycle it would live until the next garbage collection.
    """
    upright = UprightPlanes(info.stored_width, info.stored_height, info.rotation, mirrored=info.mirrored)
    tick = info.time_base[0] / info.time_base[1]
    while "end" not in (message := child.receive(limits.stall_seconds)):
        if "note" in message:
            _note(skipped, str(message["note"]))
            continue
        pts, duration = int(message["pts"]), int(message["duration"]) or info.step
        planes = upright.receive(lambda view: child.read_into(view, limits.stall_seconds))
        seconds = (pts - info.first_pts) * info.time_base[0] / info.time_base[1]
        yield VideoFrame(index, seconds, pts, info.width, info.height, planes, info.matrix), duration * tick
        index += 1
    if whole and index < info.frames and not skipped:
        _note(skipped, f"{info.frames - index} of {info.frames} frames could not be decoded")
    if info.ends_early:
        _note(skipped, f"the file ends early, after {index} frames")
    child.close()


def _note(skipped: list[str], text: str) -> None:
    if len(skipped) < MAX_NOTES:
        skipped.append(text)
    elif len(skipped) == MAX_NOTES:
        skipped.append("more was wrong than is told here")
