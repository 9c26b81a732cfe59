"""What a training step reads and writes, the same on every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from trainer.optimizer import AdamW, LossScale, Moments, all_finite, first_loss_scale, follow, next_loss_scale

Tensor = Any

Snapshot = dict[str, NDArray[Any]]
"""All values of a step by name, such as ``network/0007/stem/kernel`` and ``average/0007/stem/kernel``."""


class Slots(NamedTuple):
    """All values that a step changes.

    Attributes:
        weights: of the layers that learn; others: the network's other variables (statistics, frozen layers).
        average: running averages of both, in this order.
        moments, scale: see `trainer.optimizer`.
    """

    weights: list[Tensor]
    others: list[Tensor]
    average: list[Tensor]
    moments: Moments
    scale: LossScale


@dataclass(frozen=True)
class StepOptions:
    """How a step updates its slots; `average` is the momentum of the running average, `half` means float16."""

    optimizer: AdamW
    average: float
    half: bool = False

    def update(self, slots: Slots, gradients: list[Tensor], rate: Tensor) -> Slots:
        """The slots after a step.

        Args:
            slots: its `others` are already those of after the step.
            gradients: of the scaled loss with respect to the weights, over the global batch.
            rate: float32 scalar.
        """
        gradients = [gradient / slots.scale.factor for gradient in gradients] if self.half else gradients
        weights, moments = self.optimizer.update(slots.weights, gradients, slots.moments, rate)
        scale = slots.scale
        if self.half:
            finite = all_finite(gradients)
            weights, moments = keep_if(finite, (weights, moments), (slots.weights, slots.moments))
            scale = next_loss_scale(scale, finite)
        average = follow(slots.average, [*weights, *slots.others], self.average, slots.moments.updates)
        return Slots(weights, slots.others, average, moments, scale)


class Step(Protocol):
    """A training step with its state."""

    def __call__(self, batch: Mapping[str, Any], rate: float) -> tuple[Tensor, Tensor]:
        """Train on one batch (this worker's part of it).

        Returns:
            heatmap and PAF loss of the global batch, scalars that may still be on their way from the accelerator.
        """
        ...

    def snapshot(self) -> Snapshot:
        """All values, as NumPy arrays."""
        ...

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a snapshot of the same network in the same phase."""
        ...

    def average(self) -> list[NDArray[Any]]:
        """Running averages of all of the network's variables, in the order of `network.variables`."""
        ...


def first_slots(network: keras.Model, options: StepOptions) -> Slots:
    """The slots before the first step of a phase, as NumPy arrays; the average starts from the present weights."""
    weights, others = ([_array(v) for v in part] for part in variables_of(network))
    average = [value.copy() for value in (*weights, *others)]
    return Slots(weights, others, average, options.optimizer.begin(weights), first_loss_scale(half=options.half))


def variables_of(network: keras.Model) -> tuple[list[Any], list[Any]]:
    """The network's variables that learn, and all others."""
    return list(network.trainable_variables), list(network.non_trainable_variables)


def to_snapshot(slots: Slots, network: keras.Model) -> Snapshot:
    """Name the values of slots (NumPy arrays)."""
    names = _names(network)
    learning = names[: len(slots.weights)]
    parts = {
        "network": zip(names, [*slots.weights, *slots.others], strict=True),
        "average": zip(names, slots.average, strict=True),
        "first": zip(learning, slots.moments.first, strict=True),
        "second": zip(learning, slots.moments.second, strict=True),
        "scalar": [("updates", slots.moments.updates), *slots.scale._asdict().items()],
    }
    return {f"{part}/{name}": np.asarray(value) for part, values in parts.items() for name, value in values}


def from_snapshot(snapshot: Mapping[str, NDArray[Any]], network: keras.Model) -> Slots:
    """The values of `to_snapshot` for the same network in the same phase.

    Raises:
        KeyError: the snapshot belongs to another network or another phase.
    """
    names = _names(network)
    count = len(network.trainable_variables)
    every, average = ([snapshot[f"{part}/{name}"] for name in names] for part in ("network", "average"))
    first, second = ([snapshot[f"{part}/{name}"] for name in names[:count]] for part in ("first", "second"))
    updates, factor, since = (snapshot[f"scalar/{name}"] for name in ("updates", "factor", "since"))
    return Slots(every[:count], every[count:], average, Moments(first, second, updates), LossScale(factor, since))


def average_of(snapshot: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The running averages in a snapshot, in the order of `network.variables`."""
    return [snapshot[name] for name in sorted(snapshot) if name.startswith("average/")]


def in_order(average: list[NDArray[Any]], network: keras.Model) -> list[NDArray[Any]]:
    """The averages of slots in the order of `network.variables`."""
    return [mean for _, mean in sorted(zip(_names(network), average, strict=True), key=lambda pair: pair[0])]


def keep_if(condition: Tensor, new: Any, old: Any) -> Any:
    """`new` where the condition (a boolean scalar) holds, else `old`, for tensors in nested lists and tuples."""
    return keras.tree.map_structure(lambda n, o: ops.where(condition, n, o), new, old)


def _names(network: keras.Model) -> list[str]:
    """A name for each variable: those that learn, then the others; sorted, they are in the order of `variables`."""
    order = {id(variable): number for number, variable in enumerate(network.variables)}
    return [f"{order[id(v)]:05d}/{v.path}" for part in variables_of(network) for v in part]


def _array(variable: Any) -> NDArray[Any]:
    return np.array(ops.convert_to_numpy(variable))
