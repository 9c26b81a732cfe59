"""What watches a run: each hook is told of every step, event and evaluation, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from shared.assembly import AssemblyOptions, People, assemble
from shared.inference.estimator import DEFAULT_MIN_SCORE
from shared.skeleton import load_skeleton
from trainer.events import Event
from trainer.models.registry import get_network
from trainer.recipe import Recipe
from trainer.run_folder import RunFolder

if TYPE_CHECKING:
    from trainer.tensorboard import TensorBoardLog

_PICTURES = 4


class Hook:
    """Does nothing; override what matters."""

    def began(self, phase: str, step: int) -> None:
        """A phase begins, or goes on, when `step` steps of the run are done."""

    def stepped(self, step: int) -> None:
        """A step was queued; it may still be computing."""

    def logged(self, event: Event) -> None:
        """Losses since the last event, as they are in the history."""

    def evaluated(self, event: Event) -> None:
        """Accuracy of the averaged weights, as it is in the history."""

    def looked(self, step: int, network: keras.Model, batch: Mapping[str, Any]) -> None:
        """The network with the averaged weights, and the latest training batch, to look at."""

    def said(self, text: str) -> None:
        """A message for the person who watches."""

    def closed(self) -> None:
        """The run has ended, well or not."""


class TellHook(Hook):
    """The progress in the terminal or in a log (`trainer.progress`)."""

    def __init__(self, total: int, batch: int, log_every: int) -> None:
        from trainer.progress import ProgressLine

        self._line = ProgressLine(total, batch=batch, log_every=log_every)

    def began(self, phase: str, step: int) -> None:
        """Name the phase."""
        self._line.start(phase, step)

    def stepped(self, step: int) -> None:
        """Move the bar."""
        self._line.update(step)

    def logged(self, event: Event) -> None:
        """Show the losses."""
        losses = {name: event[name] for name in ("loss", "heatmap", "paf")}
        self._line.update(event["step"], losses, event["learning_rate"])

    def evaluated(self, event: Event) -> None:
        """Show the accuracy."""
        self._line.accuracy(event["step"], {name: event[name] for name in event if name != "step"})

    def said(self, text: str) -> None:
        """Show the message."""
        self._line.message(text)

    def closed(self) -> None:
        """Leave the terminal in order."""
        self._line.close()


class TensorBoardHook(Hook):
    """Curves for TensorBoard (`trainer.tensorboard`)."""

    def __init__(self, log: TensorBoardLog) -> None:
        self._log = log

    def logged(self, event: Event) -> None:
        """Losses, learning rate, speed."""
        values = {f"loss/{name}": event[name] for name in ("heatmap", "paf")}
        values |= {name: event[name] for name in ("loss", "learning_rate", "images_per_second")}
        self._log.scalars(event["step"], values)

    def evaluated(self, event: Event) -> None:
        """Accuracy."""
        self._log.scalars(event["step"], {f"accuracy/{name}": event[name] for name in event if name != "step"})

    def closed(self) -> None:
        """Close the event file."""
        self._log.close()


class SamplesHook(Hook):
    """Pictures of samples: targets, what the network says, who is found; for the report and for TensorBoard.

    Args:
        recipe: says how targets are drawn and what the fields mean.
        run: folder of the run, for the report's pictures.
        log: gets all of them, if given.
    """

    def __init__(self, recipe: Recipe, run: str, log: TensorBoardLog | None) -> None:
        self._skeleton, self._stride = load_skeleton(recipe.skeleton), get_network(recipe.network).stride
        self._targets, self._run, self._log = recipe.targets, run, log

    def looked(self, step: int, network: keras.Model, batch: Mapping[str, Any]) -> None:
        """Draw and write."""
        from trainer.pictures import sample_pictures
        from trainer.report import keep_pictures

        few = {name: value[:_PICTURES] for name, value in batch.items()}
        outputs = network(keras.ops.cast(few["images"], "float32"), training=False)
        predicted = {"heatmaps": keras.ops.clip(outputs["heatmaps"], 0.0, 1.0), "pafs": outputs["pafs"]}
        people = self._people(predicted)
        pictures = sample_pictures(few, predicted, self._skeleton, people, targets=self._targets, limit=_PICTURES)
        keep_pictures(self._run, pictures)
        if self._log:
            self._log.pictures(step, pictures)

    def _people(self, predicted: Mapping[str, Any]) -> list[People]:
        """Who is found in each sample, in network-input pixels."""
        from trainer.decoding import decode

        fields = (predicted["heatmaps"], predicted["pafs"])
        decoded = decode(*fields, skeleton=self._skeleton, stride=self._stride)
        peaks, limb_scores = (np.array(keras.ops.convert_to_numpy(values)) for values in decoded)
        options = AssemblyOptions(min_person_score=DEFAULT_MIN_SCORE)
        return [assemble(*sample, self._skeleton, options) for sample in zip(peaks, limb_scores, strict=True)]


def make_hooks(recipe: Recipe, folder: RunFolder, steps_done: int, *, tensorboard: bool) -> list[Hook]:
    """What watches a run by default: the terminal, pictures of samples, and TensorBoard.

    Args:
        steps_done: steps of the checkpoint that the run goes on from.
    """
    from trainer.tensorboard import TensorBoardLog

    total = sum(phase.steps for phase in recipe.phases)
    log = TensorBoardLog(folder.tensorboard, steps_done=steps_done) if tensorboard else None
    hooks: list[Hook] = [TellHook(total, recipe.pipeline.batch, recipe.log_every)]
    hooks.append(SamplesHook(recipe, folder.address, log))
    return [*hooks, TensorBoardHook(log)] if log else hooks
