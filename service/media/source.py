"""A file opened as a video, in the child process: by allow-lists, and with no way to another file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from service.media.containers import ACCEPTED, Container
from service.media.descriptors import SHARED
from service.media.held_file import HeldFile
from service.media.video_errors import VideoError

# PyAV would import it for any file, when nothing else can be opened any more.
import_module("av.subtitles.stream")

# Decoders by FFmpeg's names: those of cameras, phones, browsers and editors.
DECODERS = (
    *("h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg4", "mpeg1video", "mpeg2video"),
    *("msmpeg4v1", "msmpeg4v2", "msmpeg4", "h263", "h263p", "flv", "mjpeg", "prores", "dnxhd", "dvvideo"),
    *("theora", "ffv1", "huffyuv", "ffvhuff", "rawvideo"),
)
_CODEC_NAMES = "H.264, HEVC, AV1, VP8, VP9, MPEG-4, MPEG-2, MJPEG, ProRes, DNxHD"


class Source(AbstractContextManager["Source"]):
    """An open container and its video stream.

    While it is open the process can open nothing else, so whatever a file tells a demuxer to read or to connect to,
    the system refuses; and the demuxer itself is held to the protocol ``fd``.

    Args:
        path: of the file.
        max_pixels: larger pictures are refused, before they are decoded.
        threads: of the decoder.

    Attributes:
        container: the open file.
        stream: its first video stream that is no cover picture.
        kind: of the container.

    Raises:
        VideoError: it is not a video that is accepted.
    """

    def __init__(self, path: Path, max_pixels: int, threads: int) -> None:
        self._file = HeldFile(path)
        self.kind: Container = self._file.kind
        self.container: InputContainer = self._open(max_pixels)
        self.stream: VideoStream = _video_stream(self.container)
        _check_codec(self.stream)
        check_pixels(self.stream.codec_context.width, self.stream.codec_context.height, max_pixels)
        # Where FFmpeg's complaints come through PyAV they take Python's lock, which may wait for a decoder's threads.
        self.stream.codec_context.thread_count = threads if SHARED else 1
        self.stream.codec_context.thread_type = "AUTO"

    def missing_bytes(self) -> int:
        """How much longer the file says it is than it is."""
        return self._file.missing_bytes()

    def _open(self, max_pixels: int) -> InputContainer:
        options = {"max_pixels": str(2 * max_pixels)}  # of pictures with their margins; `check_pixels` is exact
        try:
            return self._file.demux(DECODERS, options)
        except av.error.MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise self._file.broken() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()
        self._file.close()


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    if container.streams.audio:
        raise VideoError("no-video-stream", "it has sound but no pictures")
    raise VideoError("no-video-stream", f"there is no video stream in it; accepted are {ACCEPTED}")


def _check_codec(stream: VideoStream) -> None:
    context: Any = stream.codec_context
    name = "unknown" if context is None else context.name
    if name not in DECODERS:
        raise VideoError("unsupported-codec", f"its codec is {name}; accepted are {_CODEC_NAMES} and their like")


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse pictures over the limit.

    Raises:
        VideoError: these are.
    """
    if width * height > max_pixels:
        message = f"its pictures are {width} x {height}, over the limit of {max_pixels} pixels; send a smaller version"
        raise VideoError("too-large-pixels", message)
