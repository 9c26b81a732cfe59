"""Fields to peaks and limb scores, as part of the exported graph.

Everything here is arithmetic, pooling, gathers and one top-k, chosen so that LiteRT runs nearly all of it through
XNNPACK: comparisons become clipped ramps, sums over samples become small matrix products, and look-ups are row gathers.
Inside this module positions are in cells of the fields; only the result is in pixels of the network input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from shared.geometry import cell_to_input
from shared.skeleton import Skeleton

Tensor = Any
"""A tensor of the Keras backend in use."""

_STEEP = 1e8  # turns a difference into a step of 0 or 1 once it is clipped
_TIE_STEP = 2e-7  # just above float32's resolution at 1.0, so that no two cells of a window are equal
_NMS_WINDOW = 5
_SHARP_WINDOW = 3
_SHARPNESS = 0.2
_BLOCK = 2  # two peaks are never neighbours, so a block of 2 x 2 holds one at most
_LARGEST_SHIFT = 0.75  # cells that refinement may move a peak by


@dataclass(frozen=True)
class DecodeOptions:
    """What the decoder keeps.

    Attributes:
        max_peaks: slots for peaks of each type (P).
        peak_threshold: heatmap value under which a maximum is not a peak.
        limb_threshold: projection of the PAF on the limb's direction under which a sample does not support the limb.
        support: share of samples that must support a limb.
        samples: points along a candidate limb at which the PAF is read.
    """

    max_peaks: int = 30
    peak_threshold: float = 0.03
    limb_threshold: float = 0.05
    support: float = 0.7
    samples: int = 8


@dataclass(frozen=True)
class _Grid:
    """Sizes of the fields; each is an int where it is known and a scalar tensor where it is not."""

    batch: Any
    height: Any
    width: Any

    def rows(self, index: Tensor, per_image: int) -> Tensor:
        """Index rows of ``[B * h * w * per_image, ...]`` from int32 ``[B, ...]`` rows within each image."""
        if isinstance(self.batch, int) and self.batch == 1:
            return index
        first = ops.arange(self.batch, dtype="int32") * (self.height * self.width * per_image)
        return index + ops.reshape(first, (-1,) + (1,) * (len(index.shape) - 1))


def decode(
    heatmaps: Tensor, pafs: Tensor, *, skeleton: Skeleton, stride: int, options: DecodeOptions = DecodeOptions()
) -> tuple[Tensor, Tensor]:
    """Find keypoint candidates and score every possible limb between them.

    Args:
        heatmaps: ``[B, h, w, K]`` in 0..1.
        pafs: ``[B, h, w, 2L]``; channels ``2k`` and ``2k + 1`` are the x and y part of limb ``k``.
        skeleton: names the limbs, K keypoints and L limbs.
        stride: network-input pixels per cell.
        options: thresholds and slot count P.

    Returns:
        peaks float32 ``[B, K, P, 3]``: x and y in network-input pixels and the score, best first; a score of 0 marks an
        empty slot, whose x and y are 0 too. limb_scores float32 ``[B, L, P, P]``: row = slot of the limb's first
        keypoint, column = slot of its second; 0 where there is no limb.
    """
    heatmaps, pafs = ops.cast(heatmaps, "float32"), ops.cast(pafs, "float32")
    batch, height, width, _ = ops.shape(heatmaps)
    grid = _Grid(batch, height, width)
    cells, scores = _find_peaks(heatmaps, grid, options)
    limbs = _score_limbs(pafs, cells, ops.sign(scores), grid, skeleton, options)
    last = ops.cast(ops.stack([width, height]), "float32") * stride - 1.0
    pixels = ops.clip(cell_to_input(cells, stride), 0.0, last)
    present = ops.expand_dims(ops.sign(scores), -1)
    return ops.concatenate([pixels * present, ops.expand_dims(scores, -1)], axis=-1), limbs


def _gather(table: Tensor, rows: Tensor) -> Tensor:
    """Rows of a table; `keras.ops.take` also maps negative indices, three more passes over a large array."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(table, rows)
    return ops.take(table, rows, axis=0)


def _step(values: Tensor) -> Tensor:
    """1 where a value is clearly above 0, 0 where it is 0 or less."""
    return ops.clip(values * _STEEP, 0.0, 1.0)


def _blur(maps: Tensor) -> Tensor:
    """Smooth ``[B, h, w, K]`` with the kernel [1, 2, 1] / 4 in both directions, repeating the edge cells."""
    padded = ops.concatenate([maps[:, :1], maps, maps[:, -1:]], axis=1)
    padded = ops.concatenate([padded[:, :, :1], padded, padded[:, :, -1:]], axis=2)
    line = np.array([0.25, 0.5, 0.25], np.float32)
    kernel = np.tile(np.outer(line, line)[:, :, None, None], (1, 1, maps.shape[-1], 1))
    return ops.depthwise_conv(padded, kernel, padding="valid", data_format="channels_last")


def _break_ties(maps: Tensor, grid: _Grid) -> Tensor:
    """Add to each cell a tiny amount that differs from that of every other cell of a window."""
    row, column = (
        ops.cast(_divide(ops.arange(size, dtype="int32"), _NMS_WINDOW)[0], "float32") * step
        for size, step in ((grid.height, _TIE_STEP * _NMS_WINDOW), (grid.width, _TIE_STEP))
    )
    return maps + ops.reshape(row, (1, -1, 1, 1)) + ops.reshape(column, (1, 1, -1, 1))


def _find_peaks(heatmaps: Tensor, grid: _Grid, options: DecodeOptions) -> tuple[Tensor, Tensor]:
    """The best maxima of each type: cells float32 ``[B, K, P, 2]`` (x, y) and scores ``[B, K, P]``, 0 where empty.

    A smooth peak is sought in the blurred map within a wide window, since what is left of noise on a large person's
    flat top must not count twice. A sharp one, a small person's, is sought in the map as it is within a narrow
    window, since a large person's flank close by would hide it.
    """
    blurred = _blur(heatmaps)
    sharp = _maxima(_break_ties(heatmaps, grid), _SHARP_WINDOW) * _sharp(heatmaps, _around(heatmaps))
    smooth = _maxima(_break_ties(blurred, grid), _NMS_WINDOW) * (1.0 - _highest(sharp, _SHARP_WINDOW))
    candidates = ops.relu(heatmaps * (sharp + smooth))
    scores, x, y = _top_cells(candidates, grid, options.max_peaks)
    cells = _refine(blurred, heatmaps, x, y, grid)
    return cells, scores * _step(scores - options.peak_threshold)


def _around(maps: Tensor) -> Tensor:
    """Mean of the four neighbours of each cell of ``[B, h, w, K]``; beyond the edge there is nothing."""
    cross = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)
    kernel = np.tile(cross[:, :, None, None], (1, 1, maps.shape[-1], 1))
    return ops.depthwise_conv(maps, kernel, padding="same", data_format="channels_last")


def _sharp(values: Tensor, around: Tensor) -> Tensor:
    """1 where a value stands out from those around it, 0 elsewhere."""
    return _step(values * (1.0 - _SHARPNESS) - around)


def _highest(maps: Tensor, window: int) -> Tensor:
    return ops.max_pool(maps, window, strides=1, padding="same", data_format="channels_last")


def _maxima(maps: Tensor, window: int) -> Tensor:
    """1 at the maxima of their window and 0 elsewhere."""
    return ops.relu(1.0 - (_highest(maps, window) - maps) * _STEEP)


def _top_cells(candidates: Tensor, grid: _Grid, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values and cells (int32 column and row) of the `count` highest candidates: three times ``[B, K, P]``.

    The search runs over blocks, a quarter of the cells; the winners' blocks are then looked at closely.
    """
    keypoints = candidates.shape[-1]
    blocks = ops.max_pool(candidates, _BLOCK, strides=_BLOCK, padding="same", data_format="channels_last")
    _, rows, columns, _ = ops.shape(blocks)
    flat = ops.reshape(ops.transpose(blocks, (0, 3, 1, 2)), (-1, keypoints, rows * columns))
    spare = ops.zeros_like(flat[:, :, :1]) * np.zeros(count, np.float32)  # a small input has fewer blocks than slots
    values, index = ops.top_k(ops.concatenate([flat, spare], axis=2), count)
    index = ops.minimum(ops.cast(index, "int32"), rows * columns - 1)
    x, y = (_BLOCK * part for part in _divide(index, columns))
    within = np.arange(_BLOCK * _BLOCK, dtype=np.int32)
    around_x = ops.minimum(x[..., None] + within % _BLOCK, grid.width - 1)
    around_y = ops.minimum(y[..., None] + within // _BLOCK, grid.height - 1)
    held = ops.sign(_read(candidates, around_x, around_y, grid))  # one of the four, or none
    right, down = (ops.cast(held[..., cell] + held[..., 3], "int32") for cell in (1, 2))
    x, y = ops.minimum(x + right, grid.width - 1), ops.minimum(y + down, grid.height - 1)
    return values, x, y


def _divide(index: Tensor, size: Any) -> tuple[Tensor, Tensor]:
    """Remainder and quotient of int32 values; LiteRT lacks the integer operations that `%` may be turned into."""
    quotient = ops.cast(ops.floor((ops.cast(index, "float32") + 0.5) / ops.cast(size, "float32")), "int32")
    return index - quotient * size, quotient


def _read(maps: Tensor, x: Tensor, y: Tensor, grid: _Grid) -> Tensor:
    """Values of ``[B, h, w, K]`` at int32 cells ``[B, K, P, n]``, type by type."""
    keypoints = maps.shape[-1]
    channel = np.arange(keypoints, dtype=np.int32)[:, None, None]
    rows = grid.rows((y * grid.width + x) * keypoints + channel, keypoints)
    return _gather(ops.reshape(maps, (-1,)), rows)


def _refine(blurred: Tensor, heatmaps: Tensor, x: Tensor, y: Tensor, grid: _Grid) -> Tensor:
    """Sub-cell positions float32 ``[B, K, P, 2]`` of maxima: the top of a parabola through the logarithms.

    That is exact for a Gaussian, blurred or not. The map as it was before the blur is used for sharp peaks, which
    the blur mixes with what is beside them, and within two cells of the border, where the blur had to invent
    neighbours; at the border itself the parabola goes through the three outermost cells.
    """
    inner_x, inner_y = ops.clip(x, 1, grid.width - 2), ops.clip(y, 1, grid.height - 2)
    cross_x = inner_x[..., None] + np.array([-1, 0, 1, 0, 0, 0], np.int32)
    cross_y = inner_y[..., None] + np.array([0, 0, 0, -1, 0, 1], np.int32)
    off_border = ops.minimum(ops.minimum(x, grid.width - 1 - x), ops.minimum(y, grid.height - 1 - y))
    smooth, raw = (_read(maps, cross_x, cross_y, grid) for maps in (blurred, heatmaps))
    around = (raw[..., 0] + raw[..., 2] + raw[..., 3] + raw[..., 5]) * 0.25
    at_border = ops.relu(2.0 - ops.cast(off_border, "float32"))
    as_it_was = ops.minimum(_sharp(raw[..., 1], around) + at_border, 1.0)[..., None]
    values = ops.log(ops.maximum(smooth + (raw - smooth) * as_it_was, 1e-6))
    return ops.stack(
        [_vertex(values[..., :3], inner_x, x, grid.width), _vertex(values[..., 3:], inner_y, y, grid.height)], axis=-1
    )


def _vertex(values: Tensor, center: Tensor, peak: Tensor, size: Any) -> Tensor:
    """Top of the parabola through three `values` around `center`, near the cell `peak` and within the map."""
    left, middle, right = values[..., 0], values[..., 1], values[..., 2]
    bend = ops.minimum(left - 2.0 * middle + right, -1e-4)
    peak = ops.cast(peak, "float32")
    position = ops.cast(center, "float32") + 0.5 * (left - right) / bend
    position = ops.minimum(ops.maximum(position, peak - _LARGEST_SHIFT), peak + _LARGEST_SHIFT)
    return ops.clip(position, -0.49, ops.cast(size, "float32") - 0.51)


def _score_limbs(
    pafs: Tensor, cells: Tensor, present: Tensor, grid: _Grid, skeleton: Skeleton, options: DecodeOptions
) -> Tensor:
    """Scores float32 ``[B, L, P, P]`` of all limbs between peaks `cells` ``[B, K, P, 2]``."""
    slots, limbs = options.max_peaks, skeleton.num_limbs
    first, second = (np.array(ends, np.int32) for ends in zip(*skeleton.limbs, strict=True))
    start = ops.reshape(ops.take(cells, first, axis=1), (-1, slots, 1, 2))
    end = ops.reshape(ops.take(cells, second, axis=1), (-1, 1, slots, 2))
    along = end - start
    length = ops.sqrt(ops.sum(along * along, axis=-1, keepdims=True) + 1e-6)
    support = _projections(pafs, start, end, along / length, grid, limbs, options.samples)
    mean = ops.mean(support, axis=-1)
    share = ops.mean(_step(support - options.limb_threshold), axis=-1)
    longest = ops.cast(ops.maximum(grid.height, grid.width), "float32")
    too_long = ops.minimum(0.5 * longest / length[..., 0] - 1.0, 0.0)
    scores = ops.relu(mean + too_long) * _step(share - (options.support - 1e-3))
    both = ops.take(present, first, axis=1)[..., :, None] * ops.take(present, second, axis=1)[..., None, :]
    return ops.reshape(scores, (-1, limbs, slots, slots)) * both


def _projections(
    pafs: Tensor, start: Tensor, end: Tensor, direction: Tensor, grid: _Grid, limbs: int, samples: int
) -> Tensor:
    """PAF along each candidate limb, projected on its direction: ``[B * L, P, P, samples]``.

    Args:
        pafs: ``[B, h, w, 2L]``.
        start: cells ``[B * L, P, 1, 2]``.
        end: cells ``[B * L, 1, P, 2]``.
        direction: unit vectors ``[B * L, P, P, 2]``.
        grid: sizes of the fields.
        limbs: L.
        samples: points per limb, each in the middle of its piece, read from the cell that it lies in.
    """
    slots = direction.shape[1]
    share = (np.arange(samples, dtype=np.float32) + 0.5) / samples
    column, row = (
        ops.floor(start[..., axis : axis + 1] * (1.0 - share) + (end[..., axis : axis + 1] * share + 0.5))
        for axis in (0, 1)
    )
    cell = ops.cast(row * ops.cast(grid.width, "float32") + column, "int32")
    cell = ops.reshape(cell, (-1, limbs, slots * slots, samples))
    rows = grid.rows(cell * limbs + np.arange(limbs, dtype=np.int32)[:, None, None], limbs)
    vectors = ops.reshape(_gather(ops.reshape(pafs, (-1, 2)), rows), (-1, slots, slots, samples, 2))
    return ops.sum(vectors * direction[..., None, :], axis=-1)
