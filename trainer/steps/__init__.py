"""One training step on each backend: the seam between the loop and the accelerators."""

from __future__ import annotations

import keras

from trainer.distribution import Distribution
from trainer.objective import Objective
from trainer.optimizer import make_optimizer
from trainer.recipe import Phase, Recipe
from trainer.steps.state import Step, StepOptions


def make_step(
    network: keras.Model, objective: Objective, recipe: Recipe, phase: Phase, distribution: Distribution
) -> Step:
    """The step of a phase, for the layers of the network that learn now; it starts from the network's weights."""
    optimizer = make_optimizer(recipe, phase, [variable.path for variable in network.trainable_variables])
    options = StepOptions(optimizer, recipe.average, half=recipe.precision == "mixed_float16")
    if keras.backend.backend() == "jax":
        from trainer.steps.jax import JaxStep

        return JaxStep(network, objective, options)
    from trainer.steps.tensorflow import TensorflowStep

    return TensorflowStep(network, objective, options, distribution)
