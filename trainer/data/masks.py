"""COCO segmentations (polygons, run lengths) to masks of where nothing is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.images import MAX_PIXELS

Mask = NDArray[np.uint8]
"""uint8 ``[height, width]``: 255 where nothing is known, 0 elsewhere."""

# A joint's blob reaches beyond the outline it lies in, most of all where people are small.
_MARGIN = 0.05
_LEAST_MARGIN, _MOST_MARGIN = 2, 16


def is_segmentation(value: Any) -> bool:
    """Whether this is a polygon list or a run-length code that can be drawn.

    pycocotools believes what it reads and crashes the process, or draws from foreign memory, when that is wrong. So
    all of it is checked here.
    """
    try:
        if isinstance(value, dict):
            height, width = value["size"]
            counts = _counts(value["counts"])
            return min(height, width, *counts) >= 0 and 0 < height * width == sum(counts) <= MAX_PIXELS
        return bool(value) and all(_is_polygon(polygon) for polygon in value)
    except (KeyError, TypeError, ValueError):
        return False


def rasterise(segmentations: Sequence[Any], size: tuple[int, int], stored: tuple[int, int]) -> Mask:
    """Draw segmentations (each one `is_segmentation` agreed to), slightly widened, into one mask of a picture.

    Args:
        segmentations: polygons in pixels of a picture of `size`; run lengths bring their own size along.
        size: width and height that the polygons refer to.
        stored: width and height of the mask.

    Returns:
        uint8 ``[stored height, stored width]``, 0 or 255.
    """
    mask = np.zeros(stored[::-1], np.uint8)
    for segmentation in segmentations:
        region = _from_runs(segmentation) if isinstance(segmentation, dict) else _from_polygons(segmentation, size)
        if region.shape != mask.shape:
            region = cv2.resize(region, stored, interpolation=cv2.INTER_NEAREST)
        mask = np.maximum(mask, _widened(region))
    return mask


def _widened(region: Mask) -> Mask:
    *_, width, height = cv2.boundingRect(region)
    margin = int(np.clip(round(_MARGIN * max(width, height)), _LEAST_MARGIN, _MOST_MARGIN))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return np.asarray(cv2.dilate(region, kernel), np.uint8)


def _is_polygon(values: Any) -> bool:
    return len(values) >= 6 and len(values) % 2 == 0 and all(math.isfinite(value) for value in values)


def _from_polygons(polygons: Any, size: tuple[int, int]) -> Mask:
    from pycocotools import mask as coco_mask

    width, height = size
    # A point far outside makes pycocotools allocate for every pixel on the way there.
    limits = np.array([width, height], float)
    clipped = [np.clip(np.reshape(polygon, (-1, 2)), -limits, 2 * limits).ravel().tolist() for polygon in polygons]
    runs = coco_mask.merge(coco_mask.frPyObjects(clipped, height, width))
    return np.ascontiguousarray(coco_mask.decode(runs) * 255, np.uint8)


def _from_runs(code: Any) -> Mask:
    height, width = code["size"]
    counts = _counts(code["counts"])
    values = np.where(np.arange(len(counts)) % 2, 255, 0).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def _counts(counts: Any) -> list[int]:
    """Lengths of the runs, down the columns, the first of them outside."""
    if not isinstance(counts, str | bytes):
        return [int(count) for count in counts]
    text = counts.encode() if isinstance(counts, str) else counts
    result: list[int] = []
    for number in _numbers(text):
        # From the fourth on, a run is written as its difference from the one before the last.
        result.append(number + result[-2] if len(result) > 2 else number)
    return result


def _numbers(text: bytes) -> list[int]:
    """COCO's compressed integers: five bits to a character above '0', the sixth says that more follow."""
    numbers: list[int] = []
    value = bits = 0
    for character in text:
        part = character - 48
        if not 0 <= part < 64:
            raise ValueError("not a run-length code")
        value |= (part & 31) << bits
        bits += 5
        if not part & 32:
            numbers.append(value - (1 << bits) if part & 16 else value)
            value = bits = 0
    return numbers
