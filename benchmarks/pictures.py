"""Pictures with a known number of people, out of free photographs that installed packages ship."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tests import photos

SIZE = (640, 480)
"""Width and height of every benchmark picture."""


def crowd(people: int) -> NDArray[np.uint8]:
    """RGB uint8 ``[480, 640, 3]`` with portraits in a grid of at most five columns."""
    columns = min(people, 5)
    rows = -(-people // columns)
    canvas = np.full((SIZE[1], SIZE[0], 3), 127, np.uint8)
    portraits = [photos.astronaut(), photos.mirrored(photos.astronaut())]
    cell = min(SIZE[0] // columns, SIZE[1] // rows)
    for i in range(people):
        row, column = divmod(i, columns)
        tile = cv2.resize(portraits[i % 2], (cell, cell), interpolation=cv2.INTER_AREA)
        canvas[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = tile
    return canvas
