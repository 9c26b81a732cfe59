"""How gradients change the weights: AdamW with a rate for each layer, its schedule, the running average.

Plain functions of arrays, because Keras' optimisers are stateless on JAX only: under `tf.distribute` they would clip
each replica's gradients by themselves, and their running average leaves out the statistics of batch norms.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from trainer.recipe import Phase, Recipe

Tensor = Any

_LOWEST_RATE = 0.01  # of the peak, at a phase's end
_GROW_AFTER = 1000  # steps without an overflow before the loss scale doubles
_LARGEST_SCALE = 2.0**16


class Moments(NamedTuple):
    """What AdamW remembers: for each weight the averages of its gradient and of its square, and how many updates."""

    first: list[Tensor]
    second: list[Tensor]
    updates: Tensor


class LossScale(NamedTuple):
    """A factor on the loss that keeps small float16 gradients from becoming 0, and the steps since it last changed."""

    factor: Tensor
    since: Tensor


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (arXiv 1711.05101) and clipping by global norm.

    Attributes:
        factors: of each weight, on the learning rate.
        decay: part of a kernel that is taken off at a learning rate of 1; norms and biases don't decay.
        clip_norm: gradients are scaled down to this norm, all together; 0 leaves them as they are.
    """

    factors: tuple[float, ...]
    decay: float = 1e-4
    clip_norm: float = 1.0
    momentum: float = 0.9
    square_momentum: float = 0.999
    epsilon: float = 1e-7

    def begin(self, weights: Sequence[Tensor]) -> Moments:
        """The moments before the first update, as NumPy arrays."""
        first, second = ([np.zeros(tuple(weight.shape), np.float32) for weight in weights] for _ in range(2))
        return Moments(first, second, np.zeros((), np.float32))

    def update(
        self, weights: list[Tensor], gradients: list[Tensor], moments: Moments, rate: Tensor
    ) -> tuple[list[Tensor], Moments]:
        """New weights and moments; all float32.

        Args:
            weights, gradients: of the same shapes.
            rate: float32 scalar, before the layers' factors.
        """
        gradients = clip_by_global_norm(gradients, self.clip_norm) if self.clip_norm else gradients
        b1, b2 = self.momentum, self.square_momentum
        first = [m + (1 - b1) * (g - m) for m, g in zip(moments.first, gradients, strict=True)]
        second = [v + (1 - b2) * (ops.square(g) - v) for v, g in zip(moments.second, gradients, strict=True)]
        updates = moments.updates + 1.0
        corrected = rate * ops.sqrt(1.0 - ops.power(b2, updates)) / (1.0 - ops.power(b1, updates))
        changed = [
            self._decayed(w, rate * factor) - corrected * factor * m / (ops.sqrt(v) + self.epsilon)
            for w, m, v, factor in zip(weights, first, second, self.factors, strict=True)
        ]
        return changed, Moments(first, second, updates)

    def _decayed(self, weight: Tensor, rate: Tensor) -> Tensor:
        return weight * (1.0 - rate * self.decay) if len(weight.shape) > 1 else weight


def make_optimizer(recipe: Recipe, phase: Phase, paths: Sequence[str]) -> AdamW:
    """The optimiser of a phase, for weights with these paths (``layer/kernel``)."""
    factors = tuple(next((f for prefix, f in phase.rates if path.startswith(prefix)), 1.0) for path in paths)
    return AdamW(factors, recipe.weight_decay, recipe.clip_norm)


def clip_by_global_norm(gradients: list[Tensor], limit: float) -> list[Tensor]:
    """The gradients, scaled down together to a norm of `limit` if theirs is larger."""
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    factor = limit / ops.maximum(norm, limit)
    return [gradient * factor for gradient in gradients]


def learning_rate(phase: Phase, step: int) -> float:
    """The rate of a step of a phase, counted from 0: linear warm-up, then half a cosine to a hundredth of the peak."""
    progress = min(1.0, max(0.0, (step - phase.warmup) / max(1, phase.steps - phase.warmup)))
    cosine = _LOWEST_RATE + (1 - _LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
    return phase.learning_rate * min(1.0, (step + 1) / max(1, phase.warmup)) * cosine


def for_batch(recipe: Recipe, own_batch: int) -> Recipe:
    """The recipe with its learning rates scaled in proportion to its batch.

    Args:
        recipe: its `pipeline.batch` may have been overridden.
        own_batch: the batch that its learning rates were written for.
    """
    factor = recipe.pipeline.batch / own_batch
    phases = [dataclasses.replace(phase, learning_rate=phase.learning_rate * factor) for phase in recipe.phases]
    return dataclasses.replace(recipe, phases=tuple(phases)) if factor != 1 else recipe


def follow(average: list[Tensor], values: Sequence[Tensor], momentum: float, updates: Tensor) -> list[Tensor]:
    """The running average, one step on.

    Args:
        average, values: of the same shapes; whole numbers are copied.
        momentum: of the average in the long run. After `updates` updates it is at most (1 + n) / (10 + n), so that
            the first steps' weights are soon forgotten.
    """
    pace = 1.0 - ops.minimum(momentum, (1.0 + updates) / (10.0 + updates))
    return [
        mean + pace * (value - mean) if _is_float(mean) else value for mean, value in zip(average, values, strict=True)
    ]


def first_loss_scale(*, half: bool) -> LossScale:
    """The loss scale that a phase begins with, NumPy scalars; 1 unless it trains in float16 (`half`)."""
    return LossScale(np.float32(2.0**10 if half else 1.0), np.float32(0))


def all_finite(gradients: list[Tensor]) -> Tensor:
    """Whether no gradient overflowed, a boolean scalar."""
    return ops.isfinite(sum(ops.sum(ops.abs(gradient)) for gradient in gradients))


def next_loss_scale(scale: LossScale, finite: Tensor) -> LossScale:
    """Halved after an overflow, doubled after a long time without one."""
    grows = finite & (scale.since + 1.0 >= _GROW_AFTER)
    grown = ops.where(grows, ops.minimum(scale.factor * 2.0, _LARGEST_SCALE), scale.factor)
    factor = ops.where(finite, grown, ops.maximum(scale.factor * 0.5, 1.0))
    return LossScale(factor, ops.where(finite & ~grows, scale.since + 1.0, 0.0))


def _is_float(value: Tensor) -> bool:
    return "float" in str(value.dtype)
