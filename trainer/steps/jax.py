"""The training step on JAX: one pure function of the slots and a batch, compiled whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import keras
import numpy as np
from numpy.typing import NDArray

from trainer.objective import Objective, network_input
from trainer.steps.state import Slots, Snapshot, StepOptions, first_slots, from_snapshot, in_order, to_snapshot

Tensor = Any


class JaxStep:
    """See `trainer.steps.state.Step`. The network's own variables keep what they were when the phase began."""

    def __init__(self, network: keras.Model, objective: Objective, options: StepOptions) -> None:
        self._network, self._objective, self._options = network, objective, options
        self._slots: Slots = jax.device_put(first_slots(network, options))
        self._run: Any = jax.jit(self._step, donate_argnums=0)

    def __call__(self, batch: Mapping[str, Any], rate: float) -> tuple[Tensor, Tensor]:
        """Train on one batch."""
        arrays = {name: np.asarray(value) for name, value in batch.items()}
        self._slots, losses = self._run(self._slots, arrays, np.float32(rate))
        return losses

    def snapshot(self) -> Snapshot:
        """All values, as NumPy arrays."""
        return to_snapshot(jax.tree.map(np.array, self._slots), self._network)

    def restore(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a snapshot."""
        self._slots = jax.device_put(from_snapshot(snapshot, self._network))

    def average(self) -> list[NDArray[Any]]:
        """Running averages in the order of the network's variables."""
        return in_order([np.array(mean) for mean in self._slots.average], self._network)

    def _step(self, slots: Slots, batch: dict[str, Tensor], rate: Tensor) -> tuple[Slots, tuple[Tensor, Tensor]]:
        rendered = self._objective.render(batch)

        def loss(weights: list[Tensor]) -> tuple[Tensor, Any]:
            outputs, others = self._network.stateless_call(weights, slots.others, network_input(batch), training=True)
            losses = self._objective.losses_of(outputs, rendered, batch, 1.0)
            scaled = sum(losses) * slots.scale.factor if self._options.half else sum(losses)
            return scaled, (losses, others)

        gradients, (losses, others) = jax.grad(loss, has_aux=True)(slots.weights)
        return self._options.update(slots._replace(others=list(others)), gradients, rate), losses
