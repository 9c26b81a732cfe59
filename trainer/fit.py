"""The training loop: phases, one step after another, with everything that a killed run needs to go on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from shared.skeleton import load_skeleton
from trainer import checkpoints, storage
from trainer.checkpoints import Checkpoint, Progress
from trainer.data.pipeline import Source, make_dataset
from trainer.distribution import Distribution, check_places, check_recipe, open_distribution
from trainer.events import Event, EventLog
from trainer.hooks import Hook, make_hooks
from trainer.initial import load_initial
from trainer.meters import Losses, Pace, TrainingError
from trainer.models.registry import get_network
from trainer.objective import Objective
from trainer.optimizer import learning_rate
from trainer.recipe import Phase, Recipe
from trainer.report import write_report
from trainer.run_folder import RunFolder, check_same, digest, save_recipe
from trainer.steps import make_step
from trainer.steps.state import Step, average_of
from trainer.validation import Evaluate, make_evaluate
from trainer.weights import save_weights

Batch = Mapping[str, Any]

Batches = Callable[[int], Iterator[Batch]]
"""Gives this worker's part of each global batch (see `trainer.data.pipeline.Batch`), from a batch's number on."""

_LOOK_EVERY = 1000  # steps between two looks at pictures where the recipe evaluates nothing


@dataclass(frozen=True)
class FitResult:
    """What a run has come to.

    Attributes:
        weights: address of the averaged weights at its end.
        best, best_ap: address of the averaged weights with the highest AP, if there was an evaluation.
        history: all events.
    """

    weights: str
    best: str | None
    best_ap: float | None
    history: tuple[Event, ...]


def fit(
    recipe: Recipe,
    *,
    records: str,
    data: str | None,
    run: str,
    distribution: str = "cpu",
    devices: int = 0,
    movenet: str | None = None,
    tensorboard: bool = True,
    hooks: Sequence[Hook] = (),
) -> FitResult:
    """Train by a recipe on records, or go on with a run that was cut off.

    Args:
        recipe: the resolved one, learning rates and all.
        records: folder or ``gs://`` address that holds a folder of shards for each source of the recipe.
        data: local folder of the evaluation's annotations and pictures; None trains without evaluation.
        run: folder or ``gs://`` address of the run: ``recipe.json``, ``history.jsonl``, ``checkpoints/``,
            ``tensorboard/``, ``pictures/``, ``report.html``, ``best.weights.h5`` and ``final.weights.h5``. With
            `multiworker` all must see the same.
        distribution, devices: see `trainer.distribution`.
        movenet: see `trainer.initial.load_initial`.
        tensorboard: write curves and pictures for TensorBoard.
        hooks: what else watches the run, besides the terminal.

    Raises:
        YaopError: recipe, data, devices or places are not as they must be, the loss is no longer a number, or the
            disk is full; in one line, with the last good checkpoint left in place.
    """
    check_places(distribution, records, run)
    devices_used = open_distribution(distribution, devices)
    check_recipe(recipe, devices_used)
    result = train(
        recipe,
        run,
        devices_used,
        batches_from=read_batches(recipe, records, devices_used.worker),
        evaluate=make_evaluate(recipe, data) if devices_used.chief else None,
        movenet=movenet,
        hooks_from=lambda done: [*make_hooks(recipe, RunFolder(run), done, tensorboard=tensorboard), *hooks],
    )
    if devices_used.chief:
        write_report(run)
    return result


def read_batches(recipe: Recipe, records: str, worker: tuple[int, int] = (0, 1)) -> Batches:
    """The batches of a recipe's records; the pictures' order is the recipe's seed's.

    Raises:
        YaopError: when called; records are missing or do not fit (see `trainer.data.pipeline.make_dataset`).
    """
    sources = [Source(storage.join(records, source.name), source.weight, source.augment) for source in recipe.sources]
    skeleton, stride = load_skeleton(recipe.skeleton), get_network(recipe.network).stride

    def batches(start: int) -> Iterator[Batch]:
        return iter(
            make_dataset(
                sources, recipe.pipeline, skeleton, stride=stride, seed=recipe.seed, start=start, worker=worker
            )
        )

    return batches


def train(
    recipe: Recipe,
    run: str,
    distribution: Distribution,
    *,
    batches_from: Batches,
    evaluate: Evaluate | None = None,
    movenet: str | None = None,
    hooks_from: Callable[[int], Sequence[Hook]] = lambda done: (),
) -> FitResult:
    """`fit` with the data, the evaluation and the hooks handed over.

    Args:
        hooks_from: makes the hooks of the process that writes the run's files, from the number of steps done.
    """
    check_recipe(recipe, distribution)
    keras.utils.set_random_seed(recipe.seed)
    training = _Training(recipe, RunFolder(run), distribution, evaluate)
    try:
        return training.run(batches_from, movenet, hooks_from)
    finally:
        for hook in training.hooks:
            hook.closed()


def build_network(recipe: Recipe, *, precision: str = "float32", pretrained: bool = True) -> keras.Model:
    """The network of a recipe.

    Args:
        precision: a Keras dtype policy.
        pretrained: False if all weights will be set afterwards, so that none need be fetched.
    """
    options = recipe.network_options | ({} if pretrained else {"imagenet": False})
    if "imagenet" not in recipe.network_options:
        options.pop("imagenet", None)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return get_network(recipe.network).build(load_skeleton(recipe.skeleton), **options)
    finally:
        keras.config.set_dtype_policy(before)


_Saved = tuple[Checkpoint | None, list[str]]
"""The newest checkpoint, and lines about damaged ones."""


def _step_of(saved: _Saved) -> int:
    return saved[0].progress.step if saved[0] else 0


class _Training:
    """One stretch of a run, from its start or its last checkpoint to its end."""

    def __init__(
        self, recipe: Recipe, folder: RunFolder, distribution: Distribution, evaluate: Evaluate | None
    ) -> None:
        self.recipe, self.folder, self.distribution = recipe, folder, distribution
        self.evaluate = evaluate
        self.hooks: Sequence[Hook] = ()
        self.total = sum(phase.steps for phase in recipe.phases)
        self.progress = Progress(0, 0, 0, recipe=digest(recipe))
        self.pace = Pace(recipe.pipeline.batch)
        self.twin: keras.Model | None = None

    def run(self, batches_from: Batches, movenet: str | None, hooks_from: Callable[[int], Sequence[Hook]]) -> FitResult:
        saved, messages = self._open()
        if self.progress.step == self.total and storage.exists(self.folder.final):
            return self._result()
        self.hooks = hooks_from(self.progress.step) if self.distribution.chief else ()
        self._say(messages)
        self.batches = batches_from(self.progress.step)
        self.network = self._make_network(saved, movenet)
        for number in range(self.progress.phase, len(self.recipe.phases)):
            self._run_phase(number, saved)
            saved = None
        if self.distribution.chief:
            save_weights(self._averaged(), self.folder.final)
        return self._result()

    def _open(self) -> _Saved:
        """What to go on from, if there is anything, and what to say about it."""
        saved, messages = self.distribution.require_same(self._find_saved, _step_of, self.folder.address)
        if saved:
            check_same(self.recipe, self.folder, saved.progress.recipe)
            self.progress = saved.progress
        if self.distribution.chief:
            storage.make_folder(self.folder.address)
            save_recipe(self.recipe, self.folder)
        self.losses = Losses(self.progress.pending)
        self.history = EventLog(self.folder.history if self.distribution.chief else None, self.progress.history)
        return saved, messages

    def _find_saved(self) -> _Saved:
        messages: list[str] = []
        return checkpoints.load_newest(self.folder.checkpoints, messages.append), messages

    def _make_network(self, saved: Checkpoint | None, movenet: str | None) -> keras.Model:
        with self.distribution.scope():
            network = build_network(self.recipe, precision=self.recipe.precision, pretrained=saved is None)
        self.fixed = {layer.name for layer in network.layers if not layer.trainable}
        self.distribution.prepare(network)
        if saved:
            _install(network, average_of(saved.values))
        elif self.recipe.initial:
            left = load_initial(network, self.recipe.initial, movenet)
            self._say([f"{self.recipe.initial}: left as they are: {', '.join(left)}"] if left else [])
        return network

    def _run_phase(self, number: int, saved: Checkpoint | None) -> None:
        """Train a phase to its end; the network's weights are then the averaged ones."""
        phase = self.recipe.phases[number]
        done = self.progress.phase_step if saved else 0
        if done == phase.steps:  # cut off between two phases: the network has the average already
            return
        for layer in self.network.layers:
            layer.trainable = layer.name not in self.fixed and not layer.name.startswith(phase.frozen)
        step = self._make_step(phase)
        if saved and done:
            step.restore(saved.values)
        self._tell(lambda hook: hook.began(f"phase {number + 1}/{len(self.recipe.phases)}", self.progress.step))
        self.pace.restart()
        for phase_step in range(done, phase.steps):
            self._run_step(step, phase, number, phase_step)
        _install(self.network, step.average())

    def _make_step(self, phase: Phase) -> Step:
        recipe = self.recipe
        stride = get_network(recipe.network).stride
        objective = Objective(load_skeleton(recipe.skeleton), stride, recipe.targets, recipe.losses)
        return make_step(self.network, objective, recipe, phase, self.distribution)

    def _run_step(self, step: Step, phase: Phase, number: int, phase_step: int) -> None:
        rate = learning_rate(phase, phase_step)
        batch = next(self.batches)
        self.losses.add(step(batch, rate))
        self.pace.step()
        self.progress = dataclasses.replace(
            self.progress, step=self.progress.step + 1, phase=number, phase_step=phase_step + 1
        )
        self._tell(lambda hook: hook.stepped(self.progress.step))
        self._after_step(step, batch, rate, last=phase_step + 1 == phase.steps)

    def _after_step(self, step: Step, batch: Batch, rate: float, *, last: bool) -> None:
        """Log, evaluate and save when it is time for it, in this order, so that a checkpoint knows of the others."""
        done = self.progress.step
        every = self.recipe.evaluation.every if self.recipe.evaluation else _LOOK_EVERY
        save = last or done % self.recipe.checkpoint_every == 0
        if last or done % self.recipe.log_every == 0:
            self._log(rate)
        if self.distribution.chief and (done == self.total or (every and done % every == 0)):
            self._look(step, batch)
        if save:
            self._save(step)

    def _log(self, rate: float) -> None:
        losses = self._checked(lambda: self.losses.take(self.progress.step))
        event: Event = {"step": self.progress.step, "phase": self.progress.phase, **losses, "learning_rate": rate}
        self.history.add(event | {"images_per_second": round(self.pace.images_per_second, 3)})
        self._tell(lambda hook: hook.logged(self.history.events[-1]))
        self.pace.restart()

    def _look(self, step: Step, batch: Batch) -> None:
        """Measure the averaged weights, and keep the best."""
        network = self._averaged(step)
        if self.evaluate:
            accuracy = self.evaluate(network)
            self.history.add({"step": self.progress.step, **accuracy})
            if self.progress.best is None or accuracy["ap"] > self.progress.best:
                save_weights(network, self.folder.best)
                self.progress = dataclasses.replace(self.progress, best=accuracy["ap"])
            self._tell(lambda hook: hook.evaluated(self.history.events[-1]))
        self._tell(lambda hook: hook.looked(self.progress.step, network, batch))
        self.pace.restart()

    def _save(self, step: Step) -> None:
        pending = self._checked(lambda: self.losses.read(self.progress.step))
        if not self.distribution.chief:
            return
        values = step.snapshot()
        self._checked(lambda: _require_finite(values, self.progress.step))
        self.progress = dataclasses.replace(self.progress, history=len(self.history.events), pending=pending)
        checkpoints.save(self.folder.checkpoints, Checkpoint(self.progress, values), self.recipe.keep)
        self.pace.restart()

    def _checked(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except TrainingError as error:
            kept = [name for name in storage.list_folder(self.folder.checkpoints) if name.endswith(".ckpt")]
            last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
            raise TrainingError(f"{error}; {last}; try a lower learning rate") from error

    def _averaged(self, step: Step | None = None) -> keras.Model:
        """A float32 twin of the network with the averaged weights: a step's, or those the network has."""
        if self.twin is None:
            self.twin = build_network(self.recipe, pretrained=False)
        values = step.average() if step else [_array(variable) for variable in self.network.variables]
        _install(self.twin, values)
        return self.twin

    def _say(self, messages: Sequence[str]) -> None:
        for text in messages:
            self._tell(lambda hook, text=text: hook.said(text))

    def _tell(self, event: Callable[[Hook], None]) -> None:
        for hook in self.hooks:
            event(hook)

    def _result(self) -> FitResult:
        best = self.progress.best
        address = self.folder.best if best is not None else None
        return FitResult(self.folder.final, address, best, tuple(self.history.events))


def _install(network: keras.Model, values: Sequence[NDArray[Any]]) -> None:
    """Set all of a network's variables."""
    for variable, value in zip(network.variables, values, strict=True):
        variable.assign(value)


def _array(variable: Any) -> NDArray[Any]:
    return np.array(keras.ops.convert_to_numpy(variable))


def _require_finite(values: Mapping[str, NDArray[Any]], step: int) -> None:
    for name, value in values.items():
        if value.dtype.kind == "f" and not math.isfinite(float(np.sum(np.abs(value), dtype=np.float64))):
            raise TrainingError(f"step {step}: {name} is no longer finite")
