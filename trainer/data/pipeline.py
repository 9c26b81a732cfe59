"""Records to batches: static shapes, a fixed order for a seed, pictures decoded and warped in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.images import decode_image
from shared.skeleton import Skeleton
from trainer.data.augment import AugmentOptions, jitter_color, sample_affine, warp_boxes, warp_image, warp_points
from trainer.data.coco import Record

_BEYOND = 1e5  # half-planes around a box, as boxes that reach this far


class Batch(NamedTuple):
    """What the accelerator gets; targets are rendered there.

    images uint8 ``[B, S, S, 3]``; keypoints float32 ``[B, N, K, 3]`` and sizes float32 ``[B, N]`` in input
    pixels; ignored float32 ``[B, Q, 3, 2]`` (see `trainer.data.targets.render_mask`); keypoint_weights
    float32 ``[B, K]``; limb_weights float32 ``[B, L]``.
    """

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    sizes: NDArray[np.float32]
    ignored: NDArray[np.float32]
    keypoint_weights: NDArray[np.float32]
    limb_weights: NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """Records and how often they are drawn relative to other sources."""

    records: Sequence[Record]
    weight: float
    augment: AugmentOptions


@dataclass(frozen=True)
class PipelineOptions:
    """Static sizes of a batch: input side in pixels, people and ignored regions per picture at most."""

    side: int = 256
    batch: int = 16
    max_people: int = 24
    max_ignored: int = 48
    threads: int = 2


def make_sample(
    record: Record, augment: AugmentOptions, options: PipelineOptions, skeleton: Skeleton, rng: np.random.Generator
) -> Batch:
    """One augmented sample, as a `Batch` without its leading dimension."""
    image = decode_image(record.image.read_bytes())
    matrix, mirror = sample_affine(record, (image.shape[1], image.shape[0]), options.side, augment, rng)
    pixels = jitter_color(warp_image(image, matrix, options.side), augment, rng)
    keypoints, weights = record.keypoints.copy(), record.keypoint_weights
    keypoints[..., :2] = warp_points(keypoints[..., :2], matrix)
    if mirror:
        keypoints, weights = keypoints[:, skeleton.flips], weights[list(skeleton.flips)]
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    sizes = record.boxes[:, 2:].max(-1) * scale if len(record.boxes) else np.zeros(0)
    kept, dropped = _split_people(keypoints, options)
    regions = np.concatenate([_unknown_regions(record), record.boxes[dropped]])
    return Batch(
        images=pixels,
        keypoints=_pad(keypoints[kept], options.max_people),
        sizes=_pad(sizes[kept], options.max_people),
        ignored=_pad(warp_boxes(regions, matrix)[: options.max_ignored], options.max_ignored),
        keypoint_weights=weights,
        limb_weights=np.array([weights[a] * weights[b] for a, b in skeleton.limbs], np.float32),
    )


def _split_people(keypoints: NDArray[np.float32], options: PipelineOptions) -> tuple[list[int], list[int]]:
    """Indices of the people to render and of those beyond the limit, people in view first."""
    inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < options.side)).all(-1) & (keypoints[..., 2] > 0)
    order = np.argsort(-inside.sum(-1), kind="stable").tolist()
    return order[: options.max_people], order[options.max_people :]


def _unknown_regions(record: Record) -> NDArray[np.float32]:
    """Boxes, in source pixels, in which the labels say nothing."""
    if not record.only_labelled or not len(record.boxes):
        return record.ignored
    corners = np.concatenate([record.boxes[:, :2], record.boxes[:, :2] + record.boxes[:, 2:]])
    margin = 0.1 * (corners.max(0) - corners.min(0)).max()
    (left, top), (right, bottom) = corners.min(0) - margin, corners.max(0) + margin
    around = [
        (-_BEYOND, -_BEYOND, left + _BEYOND, 2 * _BEYOND),
        (right, -_BEYOND, _BEYOND, 2 * _BEYOND),
        (-_BEYOND, -_BEYOND, 2 * _BEYOND, top + _BEYOND),
        (-_BEYOND, bottom, 2 * _BEYOND, _BEYOND),
    ]
    return np.concatenate([np.array(around, np.float32), record.ignored])


def _pad(values: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    result = np.zeros((count, *values.shape[1:]), np.float32)
    result[: len(values)] = values
    return result


def batches(
    sources: Sequence[Source], options: PipelineOptions, skeleton: Skeleton, *, seed: int, start: int = 0
) -> Iterator[Batch]:
    """Endless batches; batch ``i`` depends on the seed and ``i`` only, so a run resumes where it stopped."""
    shares = np.array([source.weight for source in sources], float)

    def sample(index: int) -> Batch:
        rng = np.random.default_rng([seed, index])
        source = sources[int(rng.choice(len(sources), p=shares / shares.sum()))]
        record = source.records[int(rng.integers(len(source.records)))]
        return make_sample(record, source.augment, options, skeleton, rng)

    def batch(step: int) -> Batch:
        first = step * options.batch
        samples = [sample(index) for index in range(first, first + options.batch)]
        return Batch(*(np.stack(parts) for parts in zip(*samples, strict=True)))

    with ThreadPoolExecutor(options.threads) as pool:
        ahead = [pool.submit(batch, start + i) for i in range(options.threads + 1)]
        step = start + len(ahead)
        while True:
            yield ahead.pop(0).result()
            ahead.append(pool.submit(batch, step))
            step += 1
