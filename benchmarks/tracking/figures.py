"""Walking figures: keypoints of a body in three dimensions, seen from the side it shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.skeleton import BODY_18

_STEPS = 1.8  # a second
_REST = {  # to the person's left, forwards, up from the ground; in body heights
    "nose": (0, 0.06, 0.93),
    "neck": (0, 0, 0.82),
    "shoulder": (0.11, 0, 0.82),
    "elbow": (0.13, 0, 0.64),
    "wrist": (0.13, 0.03, 0.48),
    "hip": (0.06, 0, 0.52),
    "knee": (0.06, 0, 0.28),
    "ankle": (0.06, -0.02, 0.04),
    "eye": (0.018, 0.055, 0.95),
    "ear": (0.04, 0, 0.94),
}
_SWING = {"elbow": -0.05, "wrist": -0.12, "knee": 0.08, "ankle": 0.16}  # forwards and back; arms against legs


def figure(x: float, ground: float, height: float, heading: float, time: float) -> NDArray[np.float64]:
    """Keypoints ``[18, 2]`` of somebody who walks.

    Args:
        x, ground: of the point between the feet, in pixels.
        height: of the body in pixels.
        heading: 0 towards the camera, pi / 2 to the right of the picture.
        time: in seconds; moves the limbs.
    """
    points = np.array([_point(name, time) for name in BODY_18.keypoints])
    across = points[:, 0] * np.cos(heading) + points[:, 1] * np.sin(heading)
    return np.column_stack([x + height * across, ground - height * points[:, 2]])


def _point(name: str, time: float) -> tuple[float, float, float]:
    side, _, part = name.rpartition("_")
    left, forward, up = _REST[part]
    sign = -1 if side == "right" else 1
    forward += sign * _SWING.get(part, 0.0) * np.sin(np.pi * _STEPS * time)
    return sign * left, forward, up
