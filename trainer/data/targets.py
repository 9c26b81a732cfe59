"""Heatmap and PAF targets, rendered on the accelerator from keypoint arrays (arXiv 1812.08008, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.skeleton import Skeleton

Tensor = Any

_FAR = 1e6
_FLAT = 1e-6  # a direction whose part along x is less than this counts as upright
_SHORT = 1e-2  # pixels; a limb must be longer to have a direction


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
        heatmaps float32 ``[B, h, w, K]`` and pafs float32 ``[B, h, w, 2L]``. Accelerators that multiply float32
        matrices in TF32 or bfloat16 round the PAFs to that.
    """
    from keras import ops

    keypoints, sizes = ops.convert_to_tensor(keypoints), ops.convert_to_tensor(sizes)
    x, y = _cell_centers(shape[1], stride), _cell_centers(shape[0], stride)
    sigma = ops.clip(sizes * options.sigma, *options.sigma_bounds)
    half_width = ops.clip(sizes * options.limb_half_width, *options.limb_bounds)
    heatmaps = [_heatmap(keypoints[:, :, k], sigma, x, y) for k in range(skeleton.num_keypoints)]
    pafs = [_paf(keypoints[:, :, a], keypoints[:, :, b], half_width, x, y) for a, b in skeleton.limbs]
    channels = ops.transpose(ops.concatenate(pafs, axis=1), (0, 2, 1))
    return ops.stack(heatmaps, axis=-1), ops.reshape(channels, (-1, *shape, 2 * skeleton.num_limbs))


def _cell_centers(count: int, stride: int) -> Tensor:
    from keras import ops

    return ops.arange(count, dtype="float32") * stride + (stride - 1) / 2


def _heatmap(points: Tensor, sigma: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Maximum over people of separable Gaussians: ``points [B, N, 3]`` to ``[B, h, w]``."""
    from keras import ops

    # An absent keypoint is moved far away rather than multiplied out: its Gaussian underflows to 0.
    across = points[..., :1] + ops.where(points[..., 2:] > 0, 0.0, _FAR)
    variance = 2 * ops.square(sigma)[..., None]
    columns, rows = ops.square(x - across) / variance, ops.square(y - points[..., 1:2]) / variance
    return ops.exp(-ops.min(rows[..., :, None] + columns[..., None, :], axis=1))


def _paf(first: Tensor, second: Tensor, half_width: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Mean unit vector of the limbs over each cell: ``first, second [B, N, 3]`` to ``[B, 2, h * w]``."""
    from keras import ops

    delta = second[..., :2] - first[..., :2]
    length = ops.sqrt(ops.sum(ops.square(delta), axis=-1) + 1e-6)
    unit = delta / length[..., None]
    present = (first[..., 2] > 0) & (second[..., 2] > 0) & (length > _SHORT)
    left, right = _spans(first, unit, length, half_width, y)
    left = ops.where(present[..., None], left, _FAR)
    inside = ops.cast((x >= left[..., None]) & (x <= right[..., None]), "float32")
    # The sum over people of what they add to each cell, x, y and a count of 1, is one matrix product.
    values = ops.transpose(ops.concatenate([unit, ops.ones_like(unit[..., :1])], axis=-1), (0, 2, 1))
    sums = ops.matmul(values, ops.reshape(inside, (-1, inside.shape[1], inside.shape[2] * inside.shape[3])))
    return sums[:, :2] / ops.maximum(sums[:, 2:], 1.0)


def _spans(first: Tensor, unit: Tensor, length: Tensor, half_width: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row of cells enters and leaves each limb's rectangle: two ``[B, N, h]``, left and right.

    A rectangle is convex, so it cuts a row in one piece; deciding this for rows costs far less than for cells.
    """
    from keras import ops

    ux, uy = unit[..., :1], unit[..., 1:]
    below = y - first[..., 1:2]
    width, margin = half_width[..., None], half_width[..., None] * 0.5
    along = _between(ux, below * uy, -margin, length[..., None] + margin)
    across = _between(uy, -below * ux, -width, width)
    start = first[..., :1]
    return start + ops.maximum(along[0], across[0]), start + ops.minimum(along[1], across[1])


def _between(slope: Tensor, offset: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest t for which ``slope * t + offset`` is from low to high."""
    from keras import ops

    safe = ops.where(ops.abs(slope) < _FLAT, _FLAT, slope)
    one, other = (low - offset) / safe, (high - offset) / safe
    return ops.minimum(one, other), ops.maximum(one, other)
