"""Augmentation: one affine map for picture, keypoints and regions, then colour; NumPy and OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.geometry import PAD_VALUE, resize_points
from trainer.data.coco import Record

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class AugmentOptions:
    """Ranges that samples are drawn from.

    Attributes:
        long_side: the whole picture's long side after scaling, in input pixels (log-uniform): the
            range of resolutions the network will be served at.
        person_side: bounds of the chosen person's long side after scaling, in input pixels.
        rotation: largest angle, in degrees.
        jitter: how far the crop's centre strays from the person's, in input sides.
        flip: probability of mirroring.
        color: strength of brightness, contrast, saturation and hue changes.
        gray: probability of a grey picture.
        degrade: probability of blur or JPEG artefacts.
    """

    long_side: tuple[float, float] = (224.0, 640.0)
    person_side: tuple[float, float] = (28.0, 300.0)
    rotation: float = 40.0
    jitter: float = 0.25
    flip: float = 0.5
    color: float = 0.25
    gray: float = 0.03
    degrade: float = 0.15


def sample_affine(
    record: Record, picture: tuple[int, int], side: int, options: AugmentOptions, rng: np.random.Generator
) -> tuple[Matrix, bool]:
    """Draw the affine map from source pixels to input pixels, and whether it mirrors.

    Args:
        picture: width and height of the source picture.
        side: width and height of the network input.

    Returns:
        a 2x3 matrix that acts on pixel centres, and the mirror flag (keypoints must swap sides then).
    """
    box = record.boxes[rng.integers(len(record.boxes))] if len(record.boxes) else None
    scale = np.exp(rng.uniform(*np.log(options.long_side))) / max(picture)
    center = np.array(picture) / 2 - 0.5
    if box is not None:
        person = max(box[2], box[3], 1.0)
        scale = float(np.clip(scale, options.person_side[0] / person, options.person_side[1] / person))
        center = box[:2] + box[2:] * rng.uniform(0.3, 0.7, 2)
    angle = np.deg2rad(np.clip(rng.normal(0, options.rotation / 2), -options.rotation, options.rotation))
    mirror = bool(rng.random() < options.flip)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirror:
        linear = np.diag([-1.0, 1.0]) @ linear
    target = np.full(2, (side - 1) / 2) + rng.uniform(-1, 1, 2) * options.jitter * side
    target = _keep_filled(target, linear, center, picture, side)
    return np.hstack([linear, (target - linear @ center)[:, None]]), mirror


def _keep_filled(target: Matrix, linear: Matrix, center: Matrix, picture: tuple[int, int], side: int) -> Matrix:
    """Slide the crop so that it shows no more padding than it must, as a served picture wouldn't either."""
    corners = np.array([[0, 0], [picture[0], 0], [0, picture[1]], picture]) - 0.5 - center
    low, high = (corners @ linear.T + target).min(0), (corners @ linear.T + target).max(0)
    slack = (high - low) - side
    shift = np.where(slack >= 0, np.clip(0, side - high, -low), np.clip(0, -low, side - high))
    return target + shift


def warp_image(image: NDArray[np.uint8], matrix: Matrix, side: int) -> NDArray[np.uint8]:
    """The network input uint8 ``[side, side, 3]`` that `matrix` cuts from the picture."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.75:  # sampling bilinearly at less than this aliases; the served path shrinks by area too
        height, width = image.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        factors = np.array(size) / (width, height)
        # shrunken centre -> source centre, then the map
        back = np.hstack([np.diag(1 / factors), resize_points(np.zeros(2), 1 / factors)[:, None]])
        matrix = matrix @ np.vstack([back, [0, 0, 1]])
    return cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(PAD_VALUE,) * 3,
    )  # fmt: skip


def warp_points(points: NDArray[np.floating], matrix: Matrix) -> NDArray[np.floating]:
    """Map pixel centres ``[..., 2]``."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp_boxes(boxes: NDArray[np.floating], matrix: Matrix) -> NDArray[np.floating]:
    """Map boxes ``[M, 4]`` (x, y, width, height) to parallelograms ``[M, 3, 2]``: corner and two edges."""
    linear, zero = matrix[:, :2], np.zeros(len(boxes))
    right, down = np.stack([boxes[:, 2], zero], -1), np.stack([zero, boxes[:, 3]], -1)
    return np.stack([warp_points(boxes[:, :2], matrix), right @ linear.T, down @ linear.T], axis=1)


def jitter_color(
    image: NDArray[np.uint8], options: AugmentOptions, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation, hue; now and then grey, blurred or with JPEG artefacts."""
    strength = options.color
    pixels = image.astype(np.float32)
    gray = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    saturation = 0.0 if rng.random() < options.gray else 1 + rng.uniform(-1.5, 1.5) * strength
    pixels = gray[..., None] + (pixels - gray[..., None]) * saturation
    pixels = (pixels - 127) * (1 + rng.uniform(-1, 1) * strength) + 127 + rng.uniform(-1, 1) * strength * 127
    pixels *= 1 + rng.uniform(-0.3, 0.3, 3) * strength
    result = np.clip(pixels, 0, 255).astype(np.uint8)
    return _degrade(result, rng) if rng.random() < options.degrade else result


def _degrade(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6)))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)
