"""A video file, played at its own speed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.live.children import ENDLESS, StoppableChild
from service.live.picture import Picture
from service.media.frame import VideoFrame
from service.media.limits import VideoLimits
from service.media.probe import VideoInfo, probe_video
from service.media.upright import UprightPlanes
from service.media.video_errors import VideoError
from shared.errors import YaopError

_LIMITS = VideoLimits(max_pixels=2**28, max_seconds=1e7, max_frames=2**53, probe_seconds=3600.0)
_STALL_SECONDS = 30.0
_FULL_HD = 1920 * 1088


class Clip:
    """Gives the pictures of a file, upright, each when it is due; those that decoding is too slow for are left out.

    The file is decoded in a child process that can open nothing else.

    Args:
        path: of the file.

    Attributes:
        size: width and height of its pictures.

    Raises:
        YaopError: it is no video.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise YaopError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
        self._path = path
        try:
            self._info = probe_video(path, _LIMITS)
        except VideoError as error:
            raise YaopError(f"{path}: {error}") from error
        self.size: tuple[int, int] | None = (self._info.width, self._info.height)
        self._child = StoppableChild("service.live.clip_child", _request(path, self._info))

    def pictures(self) -> Iterator[Picture]:
        """The pictures, from the first one to the last or to `stop`.

        Raises:
            YaopError: the file cannot be read to its end.
        """
        info = self._info
        upright = UprightPlanes(info.stored_width, info.stored_height, info.rotation, mirrored=info.mirrored)
        tick = info.time_base[0] / info.time_base[1]
        with self._child.running() as child:
            try:
                while child is not None and "end" not in (message := child.receive(_STALL_SECONDS)):
                    planes = upright.receive(lambda view: child.read_into(view, _STALL_SECONDS))
                    index, pts = int(message["index"]), int(message["pts"])
                    seconds = (pts - info.first_pts) * tick
                    frame = VideoFrame(index, seconds, pts, info.width, info.height, planes, info.matrix)
                    yield Picture(index, seconds, frame)
            except VideoError as error:
                if not self._child.stopped:
                    raise YaopError(f"{self._path}: {error}") from error

    def stop(self) -> None:
        """End `pictures`."""
        self._child.stop()


def _request(path: Path, info: VideoInfo) -> dict[str, Any]:
    return {
        "path": str(path.absolute()),
        "width": info.stored_width,
        "height": info.stored_height,
        "matrix": info.matrix,
        "by_order": info.by_order,
        "step": info.step,
        "first_pts": info.first_pts,
        "tick": info.time_base[0] / info.time_base[1],
        "max_pixels": _LIMITS.max_pixels,
        "threads": 1 if info.stored_width * info.stored_height <= _FULL_HD else 2,
        "limits": {"memory_bytes": _LIMITS.memory_bytes, "cpu_seconds": ENDLESS},
    }
