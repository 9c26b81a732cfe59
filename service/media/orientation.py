"""Which way up a video is shown: its display matrix as a turn and a flip."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

_LAYOUT = "<9i"  # FFmpeg's AV_PKT_DATA_DISPLAYMATRIX: 16.16 fixed point, row vectors
_TOLERANCE = 1.0  # degrees


class Orientation(NamedTuple):
    """How the stored picture becomes the upright one.

    Attributes:
        rotation: clockwise degrees: 0, 90, 180 or 270.
        mirrored: flipped left to right before it is turned.
        exact: False if the matrix asks for something else, which this comes nearest to.
    """

    rotation: int = 0
    mirrored: bool = False
    exact: bool = True


def orientation_of(matrix: bytes) -> Orientation:
    """The orientation in a display matrix of 36 bytes."""
    a, b, _, c, d, *_ = struct.unpack(_LAYOUT, matrix)
    if a * d == b * c:
        return Orientation(exact=False)
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    degrees = math.degrees(math.atan2(b, a)) % 360
    rotation = round(degrees / 90) * 90
    return Orientation(rotation % 360, mirrored, exact=abs(degrees - rotation) < _TOLERANCE)
