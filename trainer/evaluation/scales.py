"""Poses from the fields of several sizes of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.assembly import People
from shared.geometry import Letterbox
from shared.images import RgbImage
from shared.inference.engine import Engine, Fields
from shared.inference.estimator import PoseEstimator, PoseOptions, finish, prepare
from shared.skeleton import Skeleton


class MultiScaleEstimator(PoseEstimator):
    """A `PoseEstimator` that can also look at a picture in several sizes.

    Each size gives fields. Those of the smaller ones are resized to the grid of the largest by the pixel-centre
    convention (both letterboxes are flush with the top left corner, so that is a scaling), all are averaged, and the
    engine's own decoder runs once. A PAF is a direction and stays what it is when a picture is resized.
    """

    def __init__(self, engine: Engine, skeleton: Skeleton) -> None:
        super().__init__(engine, skeleton)
        self.engine, self.skeleton = engine, skeleton

    def estimate_scales(self, image: RgbImage, options: PoseOptions, scales: Sequence[int]) -> People:
        """The people in an upright RGB picture uint8 ``[H, W, 3]``, in its pixels, best first.

        Args:
            image: the picture.
            options: `long_side` is not used.
            scales: long sides of the network inputs in pixels; at least one.
        """
        each = [replace(options, long_side=side) for side in sorted(scales)]
        prepared = [prepare(image, one, self.engine.shapes) for one in each]
        fields = [self.fields(image, one) for one in each]
        largest, box = fields[-1], prepared[-1].letterbox
        resized = [_resized(one, p.letterbox, largest, box) for one, p in zip(fields[:-1], prepared[:-1], strict=True)]
        averaged = Fields(
            *(np.stack(parts).mean(axis=0, dtype=np.float32) for parts in zip(largest, *resized, strict=True))
        )
        arrays = self.engine.decode(averaged)
        return finish(arrays.peaks[0], arrays.limb_scores[0], prepared[-1], options, self.skeleton)


def _resized(fields: Fields, own: Letterbox, target: Fields, box: Letterbox) -> Fields:
    """Fields of a batch of one, on the grid of others."""
    stride = own.shape[0] / fields.heatmaps.shape[1]
    target_stride = box.shape[0] / target.heatmaps.shape[1]
    # Cells of the target to our own: both measure the same picture from its top left edge.
    scale = own.scale / box.scale * target_stride / stride
    shape = target.heatmaps.shape[1:3]
    return Fields(*(_sampled(field[0], scale, shape)[None] for field in fields))


def _sampled(field: NDArray[np.float32], scale: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """``[h, w, C]`` read at ``(cell + 0.5) * scale - 0.5`` for every cell of `shape`, linearly, repeating the edges."""
    rows, columns = ((np.arange(size) + 0.5) * part - 0.5 for size, part in zip(shape, scale[::-1], strict=True))
    x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    planes = np.moveaxis(field, -1, 0)
    border = cv2.BORDER_REPLICATE
    return np.stack([cv2.remap(np.ascontiguousarray(p), x, y, cv2.INTER_LINEAR, borderMode=border) for p in planes], -1)
