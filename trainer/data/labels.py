"""One annotation of a COCO file: what it says about a person, after the rules for bad data (`trainer.data.coco`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.findings import FindingsLog
from trainer.data.masks import is_segmentation

AREA_OF_BOX = 0.53
"""A person's area over that of their box, on average over COCO: stands in for an area that is not given."""

_BEYOND = 1.0  # pixels outside of the picture that a keypoint may be off by
_BOX_MARGIN = 0.1  # of the keypoints' extent, around a box that is made of them
_LEAST_BOX_MARGIN = 8.0  # pixels
_LARGEST = 1e9  # what is read here is squared and stored as float32

Box = tuple[float, float, float, float]
"""Left, top, width, height."""


@dataclass(frozen=True)
class Label:
    """What an annotation says.

    Attributes:
        keypoints: float64 ``[J, 3]`` in the file's own order, zeros where not labelled; None for a region about
            which nothing is known (a crowd, a person without keypoints).
        box: of the person or region; None for a region that has a segmentation.
        area: the person's, in square pixels.
        segmentation: of the region, if it has one.
    """

    keypoints: NDArray[np.float64] | None
    box: Box | None
    area: float
    segmentation: Any


def read_label(annotation: dict[str, Any], size: tuple[int, int], joints: int, log: FindingsLog) -> Label | None:
    """Read one annotation.

    Args:
        size: width and height of its picture.
        joints: how many keypoints it must have.
        log: gets what was wrong with it.

    Returns:
        None if nothing of it can be used.
    """
    keypoints = None if annotation.get("iscrowd") else _keypoints(annotation, size, joints, log)
    if keypoints is None:
        return _region(annotation, size, log)
    box = _box(annotation.get("bbox"), size)
    if box is None:
        log.add("box rebuilt", where(annotation))
        box = _box_around(keypoints[keypoints[:, 2] > 0, :2])
    (area,) = _numbers([annotation.get("area")], 1) or [0.0]
    return Label(keypoints, box, area if area > 0 else AREA_OF_BOX * box[2] * box[3], None)


def where(annotation: dict[str, Any]) -> str:
    """How a finding names an annotation."""
    return f"annotation {annotation.get('id', '?')} of picture {annotation.get('image_id', '?')}"


def _keypoints(
    annotation: dict[str, Any], size: tuple[int, int], joints: int, log: FindingsLog
) -> NDArray[np.float64] | None:
    stated = annotation.get("num_keypoints", 0)
    if not annotation.get("keypoints") and not stated:
        return None
    numbers = _numbers(annotation.get("keypoints"), 3 * joints)
    if numbers is None:
        log.add("keypoints malformed", where(annotation))
        return None
    keypoints = np.array(numbers).reshape(joints, 3)
    labelled = keypoints[:, 2] > 0
    if "num_keypoints" in annotation and stated != labelled.sum():
        log.add("num_keypoints wrong", where(annotation))
    inside = ((keypoints[:, :2] >= -_BEYOND) & (keypoints[:, :2] <= np.array(size) - 1 + _BEYOND)).all(1)
    if outside := int((labelled & ~inside).sum()):
        log.add("keypoint outside", where(annotation), outside)
    keypoints[~(labelled & inside)] = 0
    keypoints[:, 2] = np.minimum(keypoints[:, 2], 2)
    return keypoints if keypoints.any() else None


def _region(annotation: dict[str, Any], size: tuple[int, int], log: FindingsLog) -> Label | None:
    segmentation = annotation.get("segmentation")
    if is_segmentation(segmentation):
        return Label(None, None, 0.0, segmentation)
    if segmentation:
        log.add("segmentation malformed", where(annotation))
    box = _box(annotation.get("bbox"), size)
    if box is None:
        log.add("box useless", where(annotation))
        return None
    return Label(None, box, 0.0, None)


def _box(values: Any, size: tuple[int, int]) -> Box | None:
    """The box, if it has an area and some of that is in the picture."""
    numbers = _numbers(values, 4)
    if numbers is None:
        return None
    x, y, width, height = numbers
    seen = width > 0 and height > 0 and x < size[0] and y < size[1] and x + width > 0 and y + height > 0
    return (x, y, width, height) if seen else None


def _box_around(points: NDArray[np.float64]) -> Box:
    low, high = points.min(0), points.max(0)
    margin = max(_BOX_MARGIN * float((high - low).max()), _LEAST_BOX_MARGIN)
    x, y = (low - margin).tolist()
    width, height = (high - low + 2 * margin).tolist()
    return x, y, width, height


def _numbers(values: Any, count: int) -> list[float] | None:
    """So many finite numbers (not words, not truths), or None."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return None
    if not all(type(value) in (int, float) and abs(value) <= _LARGEST for value in values):
        return None
    return [float(value) for value in values]
