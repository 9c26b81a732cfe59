"""How large people are: the unit in which tracking and smoothing measure, so that resolution does not matter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLENDEREST = 1 / 3  # width of an upright figure over its height; seen from the side its keypoints are nearly a line


def body_size(xy: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The side of a square as large as the box around each person's keypoints.

    Args:
        xy: ``[N, K, 2]`` in pixels.
        present: ``[N, K]``; the other keypoints are not looked at.

    Returns:
        ``[N]`` in pixels, 1 at least. A box narrower than a third of its length counts as that wide.
    """
    low = np.where(present[..., None], xy, np.inf).min(axis=1)
    high = np.where(present[..., None], xy, -np.inf).max(axis=1)
    sides = np.maximum(high - low, 0)  # nobody there: -inf
    sides = np.maximum(sides, _SLENDEREST * sides[:, ::-1])
    return np.maximum(np.sqrt(sides.prod(axis=1)), 1.0)
