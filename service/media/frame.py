"""One decoded picture of a video, as it travels from the decoder to the network and on to the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.geometry import PAD_VALUE, Letterbox
from shared.images import RgbImage

ColorMatrix = Literal["bt601", "bt709"]
"""How a video's luma and chroma were made from RGB: of standard-definition and of high-definition television."""

_CHROMA = {"bt601": (1.596027, 0.391762, 0.812968, 2.017232), "bt709": (1.792741, 0.213249, 0.532909, 2.112402)}
_LUMA = 255 / 219


@dataclass(frozen=True)
class VideoFrame:
    """An upright picture of a video, 8-bit YUV 4:2:0 in limited range.

    Attributes:
        index: number of the frame, from 0, without gaps.
        timestamp: seconds from the video's first frame.
        pts: presentation time stamp of the source frame it shows, in the time base of the source's stream;
            with it and the index a reader begins again at this frame.
        width, height: of the upright picture in pixels.
        planes: uint8 ``[h * 3 / 2, w]`` in I420 order (h rows of luma, then the blue and the red chroma plane, each
            ``h / 2 x w / 2``), contiguous; w and h are `width` and `height` rounded up to even numbers, the
            added column and row repeating the last one.
        matrix: how RGB becomes of it.
    """

    index: int
    timestamp: float
    pts: int
    width: int
    height: int
    planes: NDArray[np.uint8]
    matrix: ColorMatrix = "bt709"

    def split(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Views of the luma ``[h, w]`` and the two chroma planes ``[h / 2, w / 2]`` (blue, red), even sizes."""
        rows, width = self.planes.shape
        height = rows * 2 // 3
        chroma = self.planes[height:].reshape(2, height // 2, width // 2)
        return self.planes[:height], chroma[0], chroma[1]

    def rgb(self) -> RgbImage:
        """The picture as RGB uint8 ``[height, width, 3]``."""
        return self._rgb_at((self.width, self.height))

    def letterboxed(self, box: Letterbox) -> NDArray[np.uint8]:
        """The network input uint8 ``[1, H, W, 3]`` for a letterbox of the whole picture.

        The planes are shrunk first and then made RGB, which at 720p costs a fifth of the other order.
        """
        canvas = np.full((1, *box.shape, 3), PAD_VALUE, np.uint8)
        width, height = box.size
        canvas[0, :height, :width] = self._rgb_at(box.size)
        return canvas

    def _rgb_at(self, size: tuple[int, int]) -> RgbImage:
        luma, blue, red = self.split()
        luma = luma[: self.height, : self.width]
        planes = [_resized(plane, size) for plane in (luma, blue, red)]
        return _to_rgb(cv2.merge(planes), self.matrix)


def _resized(plane: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Halved by exact means while it is over twice too large, then bilinear: a fifth of what INTER_AREA alone takes.

    Both keep the picture's edges in place, as `shared.geometry` wants it.
    """
    while plane.shape[1] % 2 == 0 and plane.shape[0] % 2 == 0 and plane.shape[1] >= 2 * size[0]:
        half = plane.shape[1] // 2, plane.shape[0] // 2
        plane = cv2.resize(plane, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if plane.shape[1::-1] == size:
        return plane
    shrinks_much = plane.shape[1] > 2 * size[0]
    interpolation = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
    return cv2.resize(plane, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _to_rgb(yuv: NDArray[np.uint8], matrix: ColorMatrix) -> RgbImage:
    """RGB of limited-range YUV uint8 ``[H, W, 3]`` (ITU-R BT.601 and BT.709, section 3)."""
    red_v, green_u, green_v, blue_u = _CHROMA[matrix]
    rows = np.array([[_LUMA, 0, red_v], [_LUMA, -green_u, -green_v], [_LUMA, blue_u, 0]])
    offset = -rows @ [16.0, 128.0, 128.0]
    return cv2.transform(yuv, np.column_stack([rows, offset])).astype(np.uint8, copy=False)
