"""Decoded pictures as 8-bit YUV 4:2:0 bytes, in the child process; without NumPy, which takes long to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from av.video.frame import VideoFrame as Decoded
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:  # that module imports OpenCV, which would take the child longer than its first frames
    from service.media.frame import ColorMatrix

_HD_HEIGHT = 720
# Numbers of ISO/IEC 23091-2 (H.273), which FFmpeg uses as they are.
_RGB, _BT709, _UNSPECIFIED, _FCC, _BT601_625, _BT601_525, _RESERVED = 0, 1, 2, 4, 5, 6, 3
_TO_BT601 = (_FCC, _BT601_625, _BT601_525)
_LIMITED, _FULL = 1, 2
_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}


def matrix_of(frame: Decoded) -> ColorMatrix:
    """The matrix that the picture is handed on with: its own if it is BT.601 or BT.709, else BT.709.

    Untagged pictures below 720 rows are taken for BT.601, as players do.
    """
    space: int = int(frame.colorspace)
    if space in _TO_BT601:
        return "bt601"
    if space in (_UNSPECIFIED, _RESERVED) and frame.height < _HD_HEIGHT and not _is_rgb(frame):
        return "bt601"
    return "bt709"


def high_dynamic_range(frame: Decoded) -> str | None:
    """Name of the picture's transfer function if it is made for HDR screens."""
    return _HIGH_DYNAMIC_RANGE.get(int(frame.color_trc))


class PlaneConverter:
    """Makes planes of one size out of all pictures of a video.

    Args:
        width, height: of the planes.
        matrix: of the planes.
    """

    def __init__(self, width: int, height: int, matrix: ColorMatrix) -> None:
        self._size = (width, height)
        self._matrix: ColorMatrix = matrix
        self._reformatter = VideoReformatter()

    def planes(self, frame: Decoded) -> list[memoryview]:
        """The rows of luma, of blue and of red chroma, top to bottom, as stored; odd sizes round chroma up."""
        if not self._is_ready(frame):
            frame = self._converted(frame)
        rows: list[memoryview] = []
        for plane in frame.planes:
            rows += _rows(plane)
        return rows

    def _is_ready(self, frame: Decoded) -> bool:
        if frame.format.name != "yuv420p" or int(frame.color_range) == _FULL:
            return False
        space = int(frame.colorspace)
        as_it_is = (*_TO_BT601, _BT709, _UNSPECIFIED, _RESERVED)
        return space in as_it_is and matrix_of(frame) == self._matrix and (frame.width, frame.height) == self._size

    def _converted(self, frame: Decoded) -> Decoded:
        full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj") or _is_rgb(frame)
        space = int(frame.colorspace)
        if space in (_UNSPECIFIED, _RESERVED, _RGB):
            space = _BT601_525 if matrix_of(frame) == "bt601" else _BT709
        return self._reformatter.reformat(
            frame,
            *self._size,
            format="yuv420p",
            src_colorspace=space,
            dst_colorspace=_BT601_525 if self._matrix == "bt601" else _BT709,
            src_color_range=_FULL if full else _LIMITED,
            dst_color_range=_LIMITED,
            threads=1,
        )


def _is_rgb(frame: Decoded) -> bool:
    return bool(frame.format.is_rgb) or int(frame.colorspace) == _RGB


def _rows(plane: Any) -> list[memoryview]:
    data, width, height, stride = memoryview(plane), plane.width, plane.height, plane.line_size
    if stride == width:
        return [data[: width * height]]
    return [data[start : start + width] for start in range(0, stride * height, stride)]
