"""The training step on TensorFlow, on one device or many through `tf.distribute`.

Every replica computes the gradients of its part of the batch, all add theirs up, and each then makes the same update
to its own copy of the weights. Batch norms that learn are synchronised (see `trainer.distribution`), so that nothing
but the order of additions depends on the number of replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.distribution import Distribution
from trainer.objective import Objective, network_input
from trainer.optimizer import LossScale, Moments
from trainer.steps.state import (
    Slots,
    Snapshot,
    StepOptions,
    first_slots,
    from_snapshot,
    in_order,
    to_snapshot,
    variables_of,
)

Tensor = Any


class TensorflowStep:
    """See `trainer.steps.state.Step`."""

    def __init__(
        self, network: keras.Model, objective: Objective, options: StepOptions, distribution: Distribution
    ) -> None:
        self._network, self._objective, self._options, self._distribution = network, objective, options, distribution
        with distribution.scope():
            self._slots = _as_variables(first_slots(network, options), network)
        self._render = _renderer(objective, distribution.compiles)
        self._run = tf.function(self._all_replicas, autograph=False)

    def __call__(self, batch: Mapping[str, Any], rate: float) -> tuple[Tensor, Tensor]:
        """Train on one batch."""
        parts = self._distribution.spread({name: tf.convert_to_tensor(value) for name, value in batch.items()})
        return self._run(parts, tf.constant(rate, tf.float32))

    def snapshot(self) -> Snapshot:
        """All values, as NumPy arrays."""
        return to_snapshot(tf.nest.map_structure(_numpy, self._slots), self._network)

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a snapshot."""
        values = from_snapshot(snapshot, self._network)
        tf.nest.map_structure(lambda variable, value: variable.assign(value), self._slots, values)

    def average(self) -> list[NDArray[Any]]:
        """Running averages in the order of the network's variables."""
        return in_order([_numpy(mean) for mean in self._slots.average], self._network)

    def _all_replicas(self, parts: Any, rate: Tensor) -> tuple[Tensor, Tensor]:
        losses = self._distribution.strategy.run(self._one_replica, args=(parts, rate))
        # The sum over the replicas is the same on all of them.
        return tuple(self._distribution.strategy.experimental_local_results(loss)[0] for loss in losses)  # pyright: ignore[reportReturnType]

    def _one_replica(self, batch: Mapping[str, Tensor], rate: Tensor) -> tuple[Tensor, Tensor]:
        slots = self._slots
        rendered = self._render({name: batch[name] for name in ("keypoints", "sizes", "mask")})
        with tf.GradientTape() as tape:
            outputs = self._network(network_input(batch), training=True)
            losses = self._objective.losses_of(outputs, rendered, batch, 1 / self._distribution.replicas)
            scaled = sum(losses) * slots.scale.factor if self._options.half else sum(losses)
        weights = [weight.value for weight in slots.weights]
        gradients = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        context: Any = tf.distribute.get_replica_context()
        *gradients, heatmap, paf = context.all_reduce(tf.distribute.ReduceOp.SUM, [*gradients, *losses])
        current = tf.nest.map_structure(tf.convert_to_tensor, slots)
        new = self._options.update(current, gradients, rate)
        _assign(slots, new)
        return heatmap, paf


@lru_cache(maxsize=4)
def _renderer(objective: Objective, compiles: bool) -> Any:
    """The drawing of targets as a function of its own, which all phases share.

    XLA fuses the drawing of 56 maps, which otherwise costs as much as the network; convolutions on a CPU are faster
    without it.
    """
    return tf.function(objective.render, jit_compile=compiles, autograph=False)


def _as_variables(slots: Slots, network: keras.Model) -> Slots:
    """Slots of TensorFlow's variables; those of the network are its own."""
    weights, others = variables_of(network)

    def variables(values: Any) -> Any:
        return tf.nest.map_structure(lambda value: tf.Variable(value, trainable=False), values)

    moments, scale = Moments(*variables(tuple(slots.moments))), LossScale(*variables(tuple(slots.scale)))
    return Slots(weights, others, variables(slots.average), moments, scale)


def _assign(slots: Slots, new: Slots) -> None:
    """Write all but the network's `others`: it has assigned its statistics itself, and nothing else in them changes."""
    slots, new = slots._replace(others=[]), new._replace(others=[])
    tf.nest.map_structure(lambda variable, value: variable.assign(value), slots, new)


def _numpy(variable: Any) -> NDArray[Any]:
    return np.array(keras.ops.convert_to_numpy(variable))
