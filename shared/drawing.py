"""Overlays: the people of a picture drawn onto it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.assembly import People, redundant_limbs
from shared.images import RgbImage
from shared.skeleton import Skeleton

_SHIFT = 4  # OpenCV's fixed-point bits, so that lines start and end between pixels
OUTLINE = (24, 24, 24)
"""RGB of the edge around limbs and joints."""
JOINT_RADIUS = 0.8
"""Radius of a joint's disc in limb widths."""
_FAR = 2.0**15  # beyond this OpenCV's fixed point overflows

Points = list[tuple[int, int] | None]


def draw_people(image: RgbImage, people: People, skeleton: Skeleton, thickness: int | None = None) -> RgbImage:
    """Draw skeletons onto a copy of a picture.

    Args:
        image: RGB uint8 ``[H, W, 3]``.
        people: in pixels of `image`.
        skeleton: limbs and colours. Limbs that only help assembly (shoulder to ear) are not drawn.
        thickness: of the limbs in pixels; by default it follows the size of the picture and of each person.

    Returns:
        The picture with the people, RGB uint8 ``[H, W, 3]``.
    """
    canvas = image.copy()
    for keypoints in people.keypoints[::-1]:  # the surest on top
        width = thickness if thickness is not None else limb_width(keypoints, image.shape)
        _draw_person(canvas, keypoints, skeleton, max(1, width))
    return canvas


def limb_width(keypoints: NDArray[np.float32], image_shape: tuple[int, ...]) -> int:
    """Pixels that suit a person ``[K, 3]`` in a picture of this shape ``[H, W, ...]``; at least 1."""
    present = keypoints[keypoints[:, 2] > 0, :2]
    if not len(present):
        return 1
    person = float(np.ptp(present, axis=0).max())
    return max(1, round(min(0.025 * person, 0.012 * max(image_shape[:2]))))


def outline_width(width: int) -> int:
    """Width of a limb together with the dark edge on both sides."""
    return width + 2 * max(1, round(width / 3))


def _draw_person(canvas: RgbImage, keypoints: NDArray[np.float32], skeleton: Skeleton, width: int) -> None:
    points = [_fixed_point(x, y) if score > 0 else None for x, y, score in keypoints.tolist()]
    outline = outline_width(width)
    _draw_limbs(canvas, points, skeleton, outline, OUTLINE)
    _draw_joints(canvas, points, skeleton, outline, OUTLINE)
    _draw_limbs(canvas, points, skeleton, width, None)
    _draw_joints(canvas, points, skeleton, width, None)


def _fixed_point(x: float, y: float) -> tuple[int, int]:
    return tuple(round(min(max(value, -_FAR), _FAR) * (1 << _SHIFT)) for value in (x, y))  # pyright: ignore[reportReturnType]


def _draw_limbs(
    canvas: RgbImage, points: Points, skeleton: Skeleton, width: int, color: tuple[int, int, int] | None
) -> None:
    for limb, (first, second) in enumerate(skeleton.limbs):
        start, end = points[first], points[second]
        if start is not None and end is not None and limb not in redundant_limbs(skeleton):
            cv2.line(canvas, start, end, color or skeleton.colors[second], width, cv2.LINE_AA, _SHIFT)


def _draw_joints(
    canvas: RgbImage, points: Points, skeleton: Skeleton, width: int, color: tuple[int, int, int] | None
) -> None:
    radius = round(JOINT_RADIUS * width * (1 << _SHIFT))
    for point, own_color in zip(points, skeleton.colors, strict=True):
        if point is not None:
            cv2.circle(canvas, point, radius, color or own_color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
