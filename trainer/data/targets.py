"""Heatmap and PAF targets, rendered on the accelerator from keypoint arrays (arXiv 1812.08008, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras import ops

from shared.skeleton import Skeleton

Tensor = Any

_FAR = 1e6


@dataclass(frozen=True)
class TargetOptions:
    """How large a keypoint and a limb are drawn: fractions of the person's size, within bounds in input pixels."""

    sigma: float = 0.035
    sigma_bounds: tuple[float, float] = (3.0, 14.0)
    limb_half_width: float = 0.03
    limb_bounds: tuple[float, float] = (4.0, 12.0)


DEFAULT_OPTIONS = TargetOptions()


def render_targets(
    keypoints: Tensor,
    sizes: Tensor,
    shape: tuple[int, int],
    stride: int,
    skeleton: Skeleton,
    options: TargetOptions = DEFAULT_OPTIONS,
) -> tuple[Tensor, Tensor]:
    """Render the fields a perfect network would give.

    Heatmaps are the maximum over people of a Gaussian at each keypoint; a PAF is the unit vector along
    the limb within its width, averaged where limbs of one type cross.

    Args:
        keypoints: float32 ``[B, N, K, 3]``: x, y in network-input pixels and v, present where v > 0.
        sizes: float32 ``[B, N]``: the long side of each person's box, in network-input pixels.
        shape: height and width of the fields, in cells.
        stride: input pixels per cell.

    Returns:
        heatmaps float32 ``[B, h, w, K]`` and pafs float32 ``[B, h, w, 2L]``.
    """
    x = _cell_centers(shape[1], stride)[None, None, None, :]
    y = _cell_centers(shape[0], stride)[None, None, :, None]
    sigma = ops.clip(sizes * options.sigma, *options.sigma_bounds)
    half_width = ops.clip(sizes * options.limb_half_width, *options.limb_bounds)
    heatmaps = [_heatmap(keypoints[:, :, k], sigma, x, y) for k in range(skeleton.num_keypoints)]
    pafs = [_paf(keypoints[:, :, a], keypoints[:, :, b], half_width, x, y) for a, b in skeleton.limbs]
    return ops.stack(heatmaps, axis=-1), ops.concatenate(pafs, axis=-1)


def _cell_centers(count: int, stride: int) -> Tensor:
    return ops.arange(count, dtype="float32") * stride + (stride - 1) / 2


def _heatmap(points: Tensor, sigma: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Maximum over people of separable Gaussians: ``points [B, N, 3]`` to ``[B, h, w]``."""
    # An absent keypoint is moved far away rather than multiplied out: its Gaussian underflows to 0.
    offset = ops.where(points[..., 2] > 0, 0.0, _FAR)[..., None, None]
    variance = 2 * ops.square(sigma)[..., None, None]
    squared = ops.square(x - points[..., 0, None, None] + offset) + ops.square(y - points[..., 1, None, None])
    return ops.exp(-ops.min(squared / variance, axis=1))


def _paf(first: Tensor, second: Tensor, half_width: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Mean unit vector of the limbs over each cell: ``first, second [B, N, 3]`` to ``[B, h, w, 2]``."""
    delta = second[..., :2] - first[..., :2]
    length = ops.sqrt(ops.sum(ops.square(delta), axis=-1) + 1e-6)
    unit = delta / length[..., None]
    ux, uy = unit[..., 0, None, None], unit[..., 1, None, None]
    dx, dy = x - first[..., 0, None, None], y - first[..., 1, None, None]
    along, across = dx * ux + dy * uy, ops.abs(dx * uy - dy * ux)
    margin = half_width[..., None, None] * 0.5
    inside = (along >= -margin) & (along <= length[..., None, None] + margin) & (across <= half_width[..., None, None])
    present = ((first[..., 2] > 0) & (second[..., 2] > 0) & (length > 1e-2))[..., None, None]
    inside = ops.cast(inside & present, "float32")
    count = ops.maximum(ops.sum(inside, axis=1), 1.0)
    return ops.stack([ops.sum(inside * ux, axis=1) / count, ops.sum(inside * uy, axis=1) / count], axis=-1)


def render_mask(ignored: Tensor, shape: tuple[int, int], stride: int) -> Tensor:
    """Where the loss counts: 1 outside every ignored region, 0 inside.

    Args:
        ignored: float32 ``[B, Q, 3, 2]`` parallelograms in network-input pixels: a corner and the two
            edge vectors from it (a box stays one under rotation); a zero edge makes it empty.

    Returns:
        float32 ``[B, h, w, 1]``.
    """
    x = _cell_centers(shape[1], stride)[None, None, None, :]
    y = _cell_centers(shape[0], stride)[None, None, :, None]
    corner, u, v = (ignored[:, :, i] for i in range(3))
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    safe = ops.where(ops.abs(area) > 1e-6, area, math.inf)[..., None, None]
    dx, dy = x - corner[..., 0, None, None], y - corner[..., 1, None, None]
    a = (dx * v[..., 1, None, None] - dy * v[..., 0, None, None]) / safe
    b = (dy * u[..., 0, None, None] - dx * u[..., 1, None, None]) / safe
    # An empty region divides by infinity: a = b = 0, which must not count as inside.
    real = ops.abs(area)[..., None, None] > 1e-6
    inside = real & (a >= 0) & (a <= 1) & (b >= 0) & (b <= 1)
    return 1.0 - ops.cast(ops.any(inside, axis=1), "float32")[..., None]
