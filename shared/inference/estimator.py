"""The one path from a picture to its people: letterbox, engine, assembly, back to source pixels.

The service, the CLI and the evaluation all come through here; the service puts its batching between
`prepare` and `finish`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.assembly import AssemblyOptions, People, assemble
from shared.errors import YaopError
from shared.geometry import Box, Letterbox, Shape, best_shape, letterbox
from shared.images import RgbImage
from shared.inference.engine import Engine, Fields, PoseArrays
from shared.skeleton import Skeleton

DEFAULT_LONG_SIDE = 384
DEFAULT_MIN_SCORE = 0.05
DEFAULT_MAX_PEOPLE = 30


class RegionError(YaopError):
    """A region of interest that does not lie in the picture."""


@dataclass(frozen=True)
class PoseOptions:
    """How one picture is looked at.

    Attributes:
        long_side: of the network input in pixels; rounds up to a listed shape.
        min_score: people with a lower score are left out.
        max_people: at most so many are given, best first.
        flip: average the fields of the picture and of its mirror image; slower and a little more accurate.
        roi: the part of the source picture to look at; None for all of it.
    """

    long_side: int = DEFAULT_LONG_SIDE
    min_score: float = DEFAULT_MIN_SCORE
    max_people: int = DEFAULT_MAX_PEOPLE
    flip: bool = False
    roi: Box | None = None


class Prepared(NamedTuple):
    """A picture ready for the engine.

    Attributes:
        images: network input, RGB uint8 ``[1, H, W, 3]``.
        letterbox: how the source picture lies in it.
    """

    images: NDArray[np.uint8]
    letterbox: Letterbox


def prepare(image: RgbImage, options: PoseOptions, shapes: tuple[Shape, ...]) -> Prepared:
    """Letterbox a picture, or its region of interest, into the listed shape that fits it best.

    Args:
        image: upright RGB uint8 ``[H, W, 3]``.
        options: `long_side` and `roi` are used.
        shapes: network inputs (height, width) to choose from.

    Raises:
        RegionError: the region of interest is empty or outside of the picture.
    """
    box = fit(image.shape[1], image.shape[0], options, shapes)
    return Prepared(box.apply(image)[None], box)


def fit(width: int, height: int, options: PoseOptions, shapes: tuple[Shape, ...]) -> Letterbox:
    """How a picture of this size lies in the network input that `prepare` makes of it. Raises like `prepare`."""
    region = _region(width, height, options.roi)
    return letterbox(region, best_shape(region.width, region.height, options.long_side, shapes))


def finish(
    peaks: NDArray[np.float32],
    limb_scores: NDArray[np.float32],
    prepared: Prepared,
    options: PoseOptions,
    skeleton: Skeleton,
) -> People:
    """Assemble the people of one picture and bring them to source pixels.

    Args:
        peaks: ``[K, P, 3]`` in network-input pixels, one picture of `PoseArrays`.
        limb_scores: ``[L, P, P]``, of the same picture.
        prepared: what the engine looked at.
        options: `min_score` and `max_people` are used.
        skeleton: of the model.

    Returns:
        People in pixels of the source picture, best first, inside of the region that was looked at.
    """
    limits = AssemblyOptions(min_person_score=options.min_score)
    people = assemble(_without_padding(peaks, prepared.letterbox), limb_scores, skeleton, limits)
    keypoints = people.keypoints[: options.max_people].copy()
    region = prepared.letterbox.region
    low, high = (region.x, region.y), (region.x + region.width - 1, region.y + region.height - 1)
    xy = prepared.letterbox.to_source(keypoints[..., :2]).clip(low, high)
    keypoints[..., :2] = np.where(keypoints[..., 2:] > 0, xy, 0)
    return People(keypoints, people.scores[: options.max_people])


class PoseEstimator:
    """People in pictures, one picture at a time."""

    def __init__(self, engine: Engine, skeleton: Skeleton) -> None:
        self._engine = engine
        self._skeleton = skeleton

    def estimate(self, image: RgbImage, options: PoseOptions = PoseOptions()) -> People:
        """The people in an upright RGB picture uint8 ``[H, W, 3]``, in its pixels, best first.

        Raises:
            RegionError: the region of interest is empty or outside of the picture.
        """
        prepared = prepare(image, options, self._engine.shapes)
        arrays = self._flipped_pose(prepared) if options.flip else self._engine.pose(prepared.images)
        return finish(arrays.peaks[0], arrays.limb_scores[0], prepared, options, self._skeleton)

    def fields(self, image: RgbImage, options: PoseOptions = PoseOptions()) -> Fields:
        """Heatmaps ``[1, h, w, K]`` and PAFs ``[1, h, w, 2L]`` of the letterboxed picture (see `prepare`).

        Raises:
            RegionError: the region of interest is empty or outside of the picture.
        """
        prepared = prepare(image, options, self._engine.shapes)
        return self._flipped_fields(prepared) if options.flip else self._engine.fields(prepared.images)

    def _flipped_pose(self, prepared: Prepared) -> PoseArrays:
        return self._engine.decode(self._flipped_fields(prepared))

    def _flipped_fields(self, prepared: Prepared) -> Fields:
        images = prepared.images
        both = self._engine.fields(np.concatenate([images, images[:, :, ::-1]]))
        return average_mirrored(both, self._skeleton)


def average_mirrored(fields: Fields, skeleton: Skeleton) -> Fields:
    """The mean of the fields of a network input and of its left-right mirror image.

    Args:
        fields: of a batch of two: the input, then its mirror image.
        skeleton: says which channels change places.

    Returns:
        Fields of a batch of one, in the frame of the first input.
    """
    order, signs = skeleton.paf_flips
    heatmaps = fields.heatmaps[1:, :, ::-1, list(skeleton.flips)]
    pafs = fields.pafs[1:, :, ::-1, list(order)] * np.array(signs)
    means = (fields.heatmaps[:1] + heatmaps) / 2, (fields.pafs[:1] + pafs) / 2
    return Fields(*(mean.astype(np.float32) for mean in means))


def _region(width: int, height: int, roi: Box | None) -> Box:
    if roi is None:
        return Box(0, 0, width, height)
    left, top = max(roi.x, 0), max(roi.y, 0)
    right, bottom = min(roi.x + roi.width, width), min(roi.y + roi.height, height)
    if roi.width < 1 or roi.height < 1 or right <= left or bottom <= top:
        raise RegionError(
            f"the region x={roi.x} y={roi.y} width={roi.width} height={roi.height} "
            f"does not overlap the picture ({width} x {height} pixels)"
        )
    return Box(left, top, right - left, bottom - top)


def _without_padding(peaks: NDArray[np.float32], box: Letterbox) -> NDArray[np.float32]:
    """The peaks with empty slots for those that lie in the letterbox's padding."""
    width, height = box.size
    inside = (peaks[..., 0] < width) & (peaks[..., 1] < height)
    return peaks * inside[..., None]
