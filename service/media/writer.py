"""Pictures into a video file: one segment, or a whole stream, without sound."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from service.media.codecs import VideoCodec, require_encoder
from service.media.frame import ColorMatrix, VideoFrame
from shared.cores import usable_cores
from shared.disk import sync_file, sync_folder
from shared.errors import YaopError

_KEY_SECONDS = 2.0  # a player that seeks decodes at most this much in vain
_MOST_THREADS = 4
_RATES = (1 / 3600, 65_000.0)  # MPEG-4 cannot have pictures over an hour apart, nor numerators over 65,535
_MOST_NUMERATOR = 65_535
_MOST_STRETCHED = 4.0  # no camera has pixels four times as wide as high: the header lies
_LIMITED, _FULL = 1, 2  # FFmpeg's AVColorRange
_COLORS = {"bt601": 6, "bt709": 1}  # its AVColorSpace, AVColorPrimaries and transfer characteristics


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Encodes pictures into one file, in a container for `service.media.mux.mux_video`.

    The first picture is a key picture and no picture needs a later one, so files of consecutive pictures, written by
    writers with the same arguments, can be joined. As a context manager it closes the file, and removes it where the
    block ends with an error.

    Args:
        path: of the file, which is replaced.
        codec: what to encode with.
        width, height: true size of the pictures. The file's are the next even numbers, as in `VideoFrame.planes`.
        sample_aspect: width to height of a pixel. Where `codec.square_pixels`, pictures are stretched by it.
        matrix: how the pictures' YUV was made; the file says so.
        fps: pictures a second: exactly, where `codec.constant_rate` (one an hour at least); else about, for the
            encoder's planning.
        threads: of the encoder; 0 takes as many as there are cores, up to 4.

    Raises:
        CodecError: the installed PyAV has no such encoder.
        YaopError: the size is not possible with this codec, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        codec: VideoCodec,
        width: int,
        height: int,
        *,
        sample_aspect: tuple[int, int] = (1, 1),
        matrix: ColorMatrix = "bt709",
        fps: float = 30.0,
        threads: int = 0,
    ) -> None:
        require_encoder(codec)
        self.path = path
        self.frames = 0
        self._codec = codec
        self._shape = (_even(height) * 3 // 2, _even(width))
        self._size = _stretched(width, height, sample_aspect) if codec.square_pixels else (_even(width), _even(height))
        self._matrix: ColorMatrix = matrix
        self._tick = time_base(codec, fps)
        self._last = -1
        self._open(sample_aspect, fps, threads)

    def _open(self, sample_aspect: tuple[int, int], fps: float, threads: int) -> None:
        import av

        (width, height), most = self._size, self._codec.max_side
        if not 0 < max(width, height) <= most:
            raise YaopError(f"{width} x {height} pixels cannot be {self._codec.name}: a side may have {most} at most")
        with self._failures():
            self._container = av.open(os.fspath(self.path), "w", format="nut")
            stream: Any = self._container.add_stream(self._codec.encoder, rate=_rate(fps), options=self._options(fps))
            stream.width, stream.height = self._size
            stream.pix_fmt = "yuvj420p" if self._codec.full_range else "yuv420p"
            context = stream.codec_context
            context.time_base = self._tick
            context.thread_count = threads or min(usable_cores(), _MOST_THREADS)
            context.sample_aspect_ratio = Fraction(1) if self._codec.square_pixels else Fraction(*sample_aspect)
            context.color_range = _FULL if self._codec.full_range else _LIMITED
            matrix = "bt601" if self._codec.full_range else self._matrix
            context.colorspace = context.color_primaries = context.color_trc = _COLORS[matrix]
            self._stream = stream
            self._container.start_encoding()

    def _options(self, fps: float) -> dict[str, str]:
        return {"g": str(max(1, round(_KEY_SECONDS * fps))), **self._codec.options}

    def write(self, frame: VideoFrame) -> None:
        """Encode the next picture; its time is its time stamp.

        Raises:
            YaopError: it cannot be written (the disk is full).
            ValueError: it has another size than the writer was made for.
        """
        if frame.planes.shape != self._shape:
            raise ValueError(f"planes of {frame.planes.shape}, expected {self._shape}")
        with self._failures():
            picture = self._picture(frame)
            picture.pts = self._last = max(round(frame.timestamp / self._tick), self._last + 1)
            picture.time_base = self._tick
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def _picture(self, frame: VideoFrame) -> Any:
        import av

        # Not by from_numpy_buffer, which takes a height of 242 for 240 (PyAV 18.1); the copy costs 0.1 ms at 720p.
        picture = av.VideoFrame(*self._size, "yuv420p")
        for plane, pixels in zip(picture.planes, frame.split(), strict=True):
            memory = np.frombuffer(memoryview(plane), np.uint8, plane.height * plane.line_size)
            target = memory.reshape(plane.height, plane.line_size)[:, : plane.width]
            target[:] = pixels if pixels.shape == target.shape else cv2.resize(pixels, target.shape[::-1])
        picture.color_range = _LIMITED
        picture.colorspace = _COLORS[self._matrix]
        if not self._codec.full_range:
            return picture
        return picture.reformat(
            format="yuvj420p",
            src_colorspace=_COLORS[self._matrix],
            dst_colorspace=_COLORS["bt601"],
            src_color_range=_LIMITED,
            dst_color_range=_FULL,
        )

    def close(self) -> None:
        """Encode what is under way and end the file; it is on the disk when this returns.

        Raises:
            YaopError: it cannot be written.
        """
        with self._failures():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            sync_file(self.path)
            sync_folder(self.path.parent)

    def discard(self) -> None:
        """Give up: close and remove the file."""
        import av.error

        with suppress(av.error.FFmpegError, OSError):
            self._container.close()
        with suppress(OSError):
            self.path.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except YaopError:
            self.discard()
            raise

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import av.error

        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise YaopError(f"{self.path}: {error.strerror or error}") from error


def time_base(codec: VideoCodec, fps: float) -> Fraction:
    """Seconds that one step of a time stamp lasts in files of this codec."""
    return 1 / _rate(fps) if codec.constant_rate else Fraction(1, codec.ticks)


def _rate(fps: float) -> Fraction:
    """A frame rate as a fraction, the ones of television exactly; the nearest one that MPEG-4 can have."""
    lowest, highest = _RATES
    fps = min(max(fps, lowest), highest)
    for rate in (Fraction(round(fps)), Fraction(round(fps * 1.001) * 1000, 1001)):
        if 0 < rate.numerator <= _MOST_NUMERATOR and abs(rate - fps) < 1e-3 * fps / 10:
            return rate
    return Fraction(fps).limit_denominator(int(min(1001 / min(fps, 1), highest / fps)))


def _stretched(width: int, height: int, sample_aspect: tuple[int, int]) -> tuple[int, int]:
    """The even size with square pixels; wider or higher, so that nothing is lost."""
    aspect = sample_aspect[0] / sample_aspect[1]
    if not 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED:
        aspect = 1.0
    return _even(round(width * max(aspect, 1))), _even(round(height * max(1 / aspect, 1)))


def _even(size: int) -> int:
    return size + size % 2
