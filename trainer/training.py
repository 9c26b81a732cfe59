"""The training loop: phases of `model.fit` on any Keras backend, checkpoints that a killed run resumes from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from shared.files import atomic_write
from shared.skeleton import Skeleton, get_skeleton
from trainer.data.coco import load_records
from trainer.data.pipeline import Batch, Source, batches
from trainer.data.targets import TargetOptions, render_mask, render_targets
from trainer.losses import LossOptions, fields_loss
from trainer.models.registry import get_network
from trainer.recipe import Phase, Recipe
from trainer.weights import save_weights

Tensor = Any


class FieldsTraining(keras.Model):
    """A network with its loss: targets are rendered inside the step, on the accelerator."""

    def __init__(
        self, network: keras.Model, skeleton: Skeleton, stride: int, targets: TargetOptions, losses: LossOptions
    ) -> None:
        super().__init__(name="training")
        self.network = network
        self.skeleton = skeleton
        self.stride = stride
        self.target_options = targets
        self.loss_options = losses
        self.heatmap_metric = keras.metrics.Mean(name="heatmap")
        self.paf_metric = keras.metrics.Mean(name="paf")

    def call(self, images: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Fields of uint8 images ``[B, H, W, 3]``, every stage's."""
        return self.network(ops.cast(images, "float32"), training=training)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Masked loss of all stages against targets rendered from `y` (a `Batch` as a dict)."""
        shape = tuple(y_pred["heatmaps"].shape[1:3])
        targets = render_targets(y["keypoints"], y["sizes"], shape, self.stride, self.skeleton, self.target_options)
        mask = render_mask(y["ignored"], shape, self.stride)
        stages = {part: [v for k, v in sorted(y_pred.items()) if k.startswith(part)] for part in ("heatmaps", "pafs")}
        heatmap, paf = fields_loss(
            targets, stages["heatmaps"], stages["pafs"], mask, y["keypoint_weights"], y["limb_weights"],
            self.loss_options,
        )  # fmt: skip
        self.heatmap_metric.update_state(heatmap)
        self.paf_metric.update_state(paf)
        return heatmap + paf


@keras.saving.register_keras_serializable("yaop")
class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW with a factor on the learning rate for variables whose path begins with a given prefix."""

    def __init__(self, *args: Any, rates: tuple[tuple[str, float], ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rates = rates

    def build(self, variables: list[Any]) -> None:
        """Make the optimiser's own variables, and look up each variable's factor."""
        super().build(variables)
        self._factors = [
            next((rate for prefix, rate in self.rates if variable.path.startswith(prefix)), 1.0)
            for variable in variables
        ]

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        """One AdamW update of one variable."""
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


@keras.saving.register_keras_serializable("yaop")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, then half a cosine down to a hundredth of it."""

    def __init__(self, peak: float, warmup: int, steps: int) -> None:
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Tensor) -> Tensor:
        """Learning rate at this step."""
        step = ops.cast(step, "float32")
        progress = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0.0, 1.0)
        cosine = 0.01 + 0.99 * 0.5 * (1 + ops.cos(math.pi * progress))
        return self.peak * ops.minimum((step + 1) / max(1, self.warmup), 1.0) * cosine

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


class AverageWeights(keras.callbacks.Callback):
    """Exponential average of all weights (the moving statistics too), written at every epoch's end.

    Kept in NumPy beside the model, so that it works on every backend and costs nothing between updates.
    """

    def __init__(self, network: keras.Model, path: Path, decay: float, every: int) -> None:
        super().__init__()
        self.network, self.path, self.decay, self.every = network, path, decay, every
        self.average: list[Any] = []
        self.updates = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start from the present weights, or from the average that a run cut off has left."""
        current = self.network.get_weights()
        if self.path.exists():
            self.network.load_weights(self.path)
            self.updates = round(10 / (1 - self.decay))
        self.average = [np.array(weight) for weight in self.network.get_weights()]
        self.network.set_weights(current)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Fold the present weights in."""
        if (batch + 1) % self.every:
            return
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 5))
        for average, weight in zip(self.average, self.network.get_weights(), strict=True):
            average *= decay
            average += (1 - decay) * weight

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the average to the file."""
        current = self.network.get_weights()
        self.network.set_weights(self.average)
        save_weights(self.network, self.path)
        self.network.set_weights(current)


def load_sources(recipe: Recipe, data: Path) -> list[Source]:
    """The recipe's data sets, read from the folder `data`."""
    return [
        Source(
            load_records(data / source.annotations, data / source.images, only_labelled=source.only_labelled),
            source.weight,
            source.augment,
        )
        for source in recipe.sources
    ]


def _as_fit_batches(stream: Iterator[Batch]) -> Iterator[tuple[Any, dict[str, Any]]]:
    for batch in stream:
        values = batch._asdict()
        yield values.pop("images"), values


def _apply_phase(training: FieldsTraining, phase: Phase, recipe: Recipe) -> None:
    for layer in training.network.layers:
        layer.trainable = not layer.name.startswith(phase.frozen) and layer.name != "heatmap_prior"
    schedule = WarmupCosine(phase.learning_rate, phase.warmup, phase.steps)
    optimizer = LayerwiseAdamW(
        schedule, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip_norm, rates=phase.rates
    )
    training.compile(optimizer=optimizer, jit_compile=False)


def fit(recipe: Recipe, data: Path, run: Path, *, initial: Path | None = None) -> Path:
    """Train, or go on with a run that was cut off.

    Args:
        recipe: what to train.
        data: folder that the recipe's sources are relative to.
        run: the run's folder: `recipe.json`, and per phase a log, a backup to resume from and the weights at
            its end; `average_N.weights.h5` is the running average of phase N.
        initial: weights to start a new run from.

    Returns:
        path of the final, averaged weights.

    Raises:
        DatasetError: data is missing or malformed.
    """
    skeleton, spec = get_skeleton(recipe.skeleton), get_network(recipe.network)
    network = spec.build(skeleton, **recipe.network_options)
    if initial is not None:
        network.load_weights(initial)
    run.mkdir(parents=True, exist_ok=True)
    with atomic_write(run / "recipe.json") as file:
        file.write(json.dumps(recipe.to_json(), indent=2).encode())
    sources = load_sources(recipe, data)
    for number, phase in enumerate(recipe.phases):
        done = run / f"phase_{number}.weights.h5"
        if done.exists():
            network.load_weights(done)
            continue
        training = FieldsTraining(network, skeleton, spec.stride, recipe.targets, recipe.losses)
        _apply_phase(training, phase, recipe)
        average = _fit_phase(training, phase, recipe, sources, run, number)
        network.set_weights(average)
        save_weights(network, done)
    final = run / "final.weights.h5"
    save_weights(network, final)
    return final


def _fit_phase(
    training: FieldsTraining, phase: Phase, recipe: Recipe, sources: list[Source], run: Path, number: int
) -> list[Any]:
    """Train one phase; returns its averaged weights."""
    epochs = max(1, phase.steps // recipe.checkpoint_every)
    training.build((None, recipe.pipeline.side, recipe.pipeline.side, 3))
    average = AverageWeights(
        training.network, run / f"average_{number}.weights.h5", recipe.average_decay, recipe.average_every
    )
    start = _resume_epoch(run, number) * recipe.checkpoint_every
    stream = batches(sources, recipe.pipeline, training.skeleton, seed=recipe.seed * 1000 + number, start=start)
    training.fit(
        _as_fit_batches(stream),
        steps_per_epoch=recipe.checkpoint_every,
        epochs=epochs,
        verbose=2,
        callbacks=[
            average,
            keras.callbacks.CSVLogger(run / f"log_{number}.csv", append=True),
            keras.callbacks.BackupAndRestore(run / f"backup_{number}", delete_checkpoint=False),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    return average.average


def _resume_epoch(run: Path, number: int) -> int:
    log = run / f"log_{number}.csv"
    return max(0, len(log.read_text().splitlines()) - 1) if log.exists() else 0
