"""Masked losses on heatmaps and PAFs, always in float32.

Keras is imported where it is used: recipes hold `LossOptions` and must load without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Tensor = Any


@dataclass(frozen=True)
class LossOptions:
    """Weights of the parts. Foreground is rare, so it counts more per cell than background."""

    heatmap: float = 1.0
    heatmap_foreground: float = 6.0
    paf: float = 1.0
    paf_background: float = 0.25
    paf_limb: float = 1.25


DEFAULT_OPTIONS = LossOptions()


def heatmap_loss(target: Tensor, predicted: Tensor, weight: Tensor, foreground: float) -> Tensor:
    """Squared error summed over channels and cells, averaged over the batch.

    Args:
        target: float32 ``[B, h, w, K]`` in 0..1; predicted: the same shape, any float dtype.
        weight: float32, broadcastable to the target; 0 where nothing is known.
        foreground: extra weight of a cell per unit of its target.
    """
    from keras import ops

    error = ops.square(ops.cast(predicted, "float32") - target)
    return ops.mean(ops.sum(error * weight * (1.0 + foreground * target), axis=(1, 2, 3)))


def paf_loss(target: Tensor, predicted: Tensor, weight: Tensor, background: float, limb: float) -> Tensor:
    """Squared error as in `heatmap_loss`; `background` and `limb` weigh cells off and on a limb."""
    from keras import ops

    error = ops.square(ops.cast(predicted, "float32") - target)
    vectors = ops.reshape(target, (-1, *target.shape[1:3], target.shape[3] // 2, 2))
    on_limb = ops.cast(ops.sum(ops.square(vectors), axis=-1) > 1e-6, "float32")
    balance = ops.repeat(background + (limb - background) * on_limb, 2, axis=-1)
    return ops.mean(ops.sum(error * weight * balance, axis=(1, 2, 3)))


def fields_loss(
    targets: tuple[Tensor, Tensor],
    heatmaps: list[Tensor],
    pafs: list[Tensor],
    mask: Tensor,
    keypoint_weights: Tensor,
    limb_weights: Tensor,
    options: LossOptions = DEFAULT_OPTIONS,
) -> tuple[Tensor, Tensor]:
    """Heatmap and PAF loss, summed over a staged network's predictions (one-element lists otherwise).

    Args:
        targets: heatmaps ``[B, h, w, K]`` and pafs ``[B, h, w, 2L]``, float32.
        heatmaps, pafs: predictions of every stage.
        mask: float32 ``[B, h, w, 1]``, 0 where people are not labelled.
        keypoint_weights: float32 ``[B, K]``, 0 for keypoints this sample's data set does not label.
        limb_weights: float32 ``[B, L]``, the same for limbs.
    """
    from keras import ops

    heatmap_weight = mask * keypoint_weights[:, None, None, :]
    paf_weight = mask * ops.repeat(limb_weights, 2, axis=-1)[:, None, None, :]
    heatmap = sum(heatmap_loss(targets[0], p, heatmap_weight, options.heatmap_foreground) for p in heatmaps)
    paf = sum(paf_loss(targets[1], p, paf_weight, options.paf_background, options.paf_limb) for p in pafs)
    return options.heatmap * heatmap, options.paf * paf
