"""The one pixel convention of this project, and every map between its coordinate systems.

A coordinate names the *centre* of a pixel: pixel ``(0, 0)`` has its centre at ``x = 0, y = 0`` and
covers ``[-0.5, 0.5)``; x grows to the right, y down. COCO annotations are read in this convention.

Resizing by a factor ``s`` keeps the picture's *edges* fixed, so a centre moves by
``x' = (x + 0.5) * s - 0.5`` (OpenCV's INTER_LINEAR and INTER_AREA, ``half_pixel_centers`` in TensorFlow).
A field of stride ``n`` is a picture shrunk by ``1 / n``: cell ``i`` has its centre at ``n * i + (n - 1) / 2``
pixels of the network input.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]
PAD_VALUE = 127  # maps to almost exactly 0 after the network's x / 127.5 - 1

Shape = tuple[int, int]
"""Height and width of a network input, in pixels."""


def resize_points(points: Points, scale: float | Points) -> Points:
    """Where pixel centres go when the picture is resized by `scale` (one factor, or one each for x and y)."""
    return (points + 0.5) * scale - 0.5


def input_to_cell(points: Points, stride: int) -> Points:
    """Network-input pixels to cells of a field with this stride."""
    return resize_points(points, 1.0 / stride)


def cell_to_input(points: Points, stride: int) -> Points:
    """Cells of a field with this stride to network-input pixels."""
    return resize_points(points, float(stride))


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels: left column, top row, width and height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Letterbox:
    """How a region of a picture lies in a network input: resized, flush with the top left corner.

    Attributes:
        region: the part of the source picture that is looked at.
        size: width and height in network-input pixels that the region was resized to.
        shape: height and width of the network input.
    """

    region: Box
    size: tuple[int, int]
    shape: Shape

    @property
    def scale(self) -> NDArray[np.float64]:
        """Network-input pixels per source pixel, for x and y (they differ by rounding only)."""
        return np.array([self.size[0] / self.region.width, self.size[1] / self.region.height])

    def to_input(self, points: Points) -> Points:
        """Source-picture pixels ``[..., 2]`` to network-input pixels."""
        return resize_points(points - [self.region.x, self.region.y], self.scale)

    def to_source(self, points: Points) -> Points:
        """Network-input pixels ``[..., 2]`` to source-picture pixels."""
        return resize_points(points, 1.0 / self.scale) + [self.region.x, self.region.y]

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The network input uint8 ``[height, width, 3]`` cut from an RGB picture uint8 ``[H, W, 3]``."""
        box, (width, height) = self.region, self.size
        crop = image[box.y : box.y + box.height, box.x : box.x + box.width]
        if (width, height) != (box.width, box.height):
            shrinks = width < box.width or height < box.height
            crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if (height, width) == self.shape:
            return np.ascontiguousarray(crop)
        canvas = np.full((*self.shape, 3), PAD_VALUE, np.uint8)
        canvas[:height, :width] = crop
        return canvas


def letterbox(region: Box, shape: Shape) -> Letterbox:
    """Fit `region` into a network input of `shape` (height, width), keeping its aspect ratio.

    A side never falls under one pixel, so a 1 x 5000 picture still fits (and is squeezed).
    """
    scale = min(shape[1] / region.width, shape[0] / region.height)
    size = tuple(
        max(1, min(limit, round(side * scale))) for side, limit in ((region.width, shape[1]), (region.height, shape[0]))
    )
    return Letterbox(region, (size[0], size[1]), shape)


def best_shape(width: int, height: int, long_side: int, shapes: tuple[Shape, ...]) -> Shape:
    """The listed input shape that holds a ``width x height`` picture at `long_side` with the least padding.

    Long sides round up to the next listed one (the largest when none is larger). Among the shapes with
    that long side, the one that keeps the picture largest wins; ties go to the fewest pixels.
    """
    sides = sorted({max(shape) for shape in shapes})
    side = next((s for s in sides if s >= long_side), sides[-1])

    def cost(shape: Shape) -> tuple[float, int]:
        # Rounding in the shapes (a 16:9 side is a multiple of 32) must not make a picture a hair larger win.
        scale = min(shape[1] / width, shape[0] / height) * max(width, height) / side
        return -round(scale, 1), shape[0] * shape[1]

    return min((shape for shape in shapes if max(shape) == side), key=cost)
