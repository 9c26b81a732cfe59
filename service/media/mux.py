"""Segments and the upload's sound become the file people get, in a limited child process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.media.child import ask, module_command
from service.media.codecs import VideoCodec
from service.media.limits import MEBIBYTE, VideoLimits
from service.media.video_errors import VideoError
from shared.disk import sync_file, sync_folder
from shared.errors import YaopError
from shared.files import replacing

_LIMITS = VideoLimits()
_CPU_SECONDS = 120.0
_CPU_PER_SECOND = 0.1  # of sound to convert
_SPARE_BYTES = 256 * MEBIBYTE  # more than two hours of sound take


@dataclass(frozen=True)
class MuxInfo:
    """What became of a video.

    Attributes:
        frames: pictures in the file.
        seconds: until the last of them ends.
        bytes: size of the file.
        audio: whether there is sound, and how it came there.
        warnings: what could not be kept, for people.
    """

    frames: int
    seconds: float
    bytes: int
    audio: Literal["copied", "converted"] | None
    warnings: tuple[str, ...]


class _ChildError(YaopError):
    def __init__(self, out: Path, reason: str) -> None:
        super().__init__(f"{out}: the video cannot be put together: {reason}")
        self.reason = reason


def mux_video(
    segments: Sequence[Path],
    out: Path,
    codec: VideoCodec,
    *,
    fps: float = 30.0,
    audio_from: Path | None = None,
    first_pts: int | None = None,
    limits: VideoLimits = _LIMITS,
) -> MuxInfo:
    """Join segments, and the sound of the video they were made from, into one file that a browser can play at once.

    The pictures are not encoded again. Sound is copied if the container can hold it, else converted; what was heard
    before the first picture is left out, and so is what goes on for over ten seconds after the last one.

    Args:
        segments: files of `service.media.writer.VideoWriter`, all made with `codec` and the same arguments, in order.
        out: is replaced when everything is written.
        codec: says which container `out` is.
        fps: as for the writer.
        audio_from: the upload. Where its sound cannot be read, the file has none and a warning says so.
        first_pts: `VideoFrame.pts` of the first picture, so that sound and pictures stay together; None takes the
            beginning of the upload's video stream.
        limits: of the child process.

    Raises:
        VideoError: the child process was ended from outside ("interrupted"); another try may succeed.
        YaopError: a segment is missing or broken, or `out` cannot be written; then it comes from an OSError.
        ValueError: there are no segments.
    """
    if not segments:
        raise ValueError("no segments")
    request: dict[str, Any] = {
        "segments": [str(path.absolute()) for path in segments],
        "fourcc": codec.fourcc,
        "fps": fps,
        "sound": None if audio_from is None else str(audio_from.absolute()),
        "first_pts": first_pts,
        "max_seconds": limits.max_seconds,
        "limits": {
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": _CPU_SECONDS + _CPU_PER_SECOND * limits.max_seconds,
            "write_bytes": 2 * _size([*segments, *([audio_from] if audio_from else [])]) + _SPARE_BYTES,
        },
    }
    with replacing(out) as temporary:
        told = _attempts({**request, "out": str(temporary.absolute())}, out, limits.stall_seconds)
        sync_file(temporary)
        size = temporary.stat().st_size
    sync_folder(out.parent)
    return MuxInfo(told["frames"], told["seconds"], size, told["audio"], tuple(told["warnings"]))


def _attempts(request: dict[str, Any], out: Path, seconds: float) -> dict[str, Any]:
    """What the child tells, with the sound copied if that works, else converted, else left out."""
    if request["sound"] is None:
        return _attempt({**request, "copy": False}, out, seconds)
    for copy in (True, False):
        try:
            return _attempt({**request, "copy": copy}, out, seconds)
        except _ChildError as error:
            failure = error
    told = _attempt({**request, "sound": None, "copy": False}, out, seconds)
    told["warnings"].append(f"the sound could not be kept: {failure.reason}")
    return told


def _attempt(request: dict[str, Any], out: Path, seconds: float) -> dict[str, Any]:
    try:
        told = ask(module_command("service.media.mux_child"), request, seconds)
    except VideoError as error:
        if error.reason == "interrupted":
            raise
        raise _ChildError(out, str(error)) from error
    if "disk" in told:
        raise YaopError(f"{out}: {told['disk']}") from OSError(told["errno"], told["disk"])
    return told


def _size(paths: Sequence[Path]) -> int:
    try:
        return sum(path.stat().st_size for path in paths)
    except OSError as error:
        raise YaopError(f"{error.filename}: {error.strerror}") from error
