"""Planes as they come from the decoder, brought upright and to even sizes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class UprightPlanes:
    """Receives pictures of one size.

    Args:
        width, height: as stored.
        rotation: clockwise degrees: 0, 90, 180 or 270.
        mirrored: flip left to right before that.
    """

    def __init__(self, width: int, height: int, rotation: int = 0, *, mirrored: bool = False) -> None:
        self._stored = (height, width)
        self._chroma = ((height + 1) // 2, (width + 1) // 2)
        self._upright = (width, height) if rotation % 180 else (height, width)
        self._rotation, self._mirrored = rotation, mirrored
        self._as_it_is = not rotation and not mirrored and width % 2 == 0 and height % 2 == 0

    def receive(self, fill: Callable[[memoryview], None]) -> NDArray[np.uint8]:
        """One picture as `service.media.frame.VideoFrame.planes`.

        Args:
            fill: fills a buffer with the rows of luma, blue and red chroma as they are stored, chroma rounded up.
        """
        rows, columns = (size + size % 2 for size in self._upright)
        planes = np.empty((rows * 3 // 2, columns), np.uint8)
        if self._as_it_is:
            fill(planes.reshape(-1).data)
            return planes
        luma, blue, red = (self._turned(plane) for plane in self._received(fill))
        height, width = luma.shape
        planes[:height, :width] = luma
        planes[:height, width:] = luma[:, -1:]
        planes[height:rows] = planes[height - 1]
        planes[rows:] = np.stack([blue, red]).reshape(rows // 2, columns)
        return planes

    def _received(self, fill: Callable[[memoryview], None]) -> list[NDArray[np.uint8]]:
        shapes = (self._stored, self._chroma, self._chroma)
        sizes = [rows * columns for rows, columns in shapes]
        data = np.empty(sum(sizes), np.uint8)
        fill(data.data)
        parts = np.split(data, np.cumsum(sizes[:-1]))
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _turned(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._mirrored:
            plane = cv2.flip(plane, 1).astype(np.uint8, copy=False)
        if self._rotation:
            plane = cv2.rotate(plane, _TURNS[self._rotation]).astype(np.uint8, copy=False)
        return plane
