"""What a training run is made of. A recipe in `trainer/recipes/` is a Python file with one `RECIPE`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.data.targets import TargetOptions
from trainer.losses import LossOptions


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimiser and one choice of trainable layers.

    Attributes:
        steps: batches.
        learning_rate: peak, reached after `warmup` steps, then a cosine to a hundredth of it.
        frozen: layers whose name begins with one of these don't learn.
        rates: name prefix -> factor on the learning rate (the first that fits; 1 elsewhere).
    """

    steps: int
    learning_rate: float
    warmup: int = 150
    frozen: tuple[str, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class DataSource:
    """A data set in COCO keypoint format.

    Attributes:
        annotations, images: paths relative to the data folder given on the command line.
        weight: how often it is drawn, relative to the other sources.
        only_labelled: see `trainer.data.coco.Record`.
    """

    annotations: str
    images: str
    weight: float
    only_labelled: bool = False
    augment: AugmentOptions = AugmentOptions()


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result, so that it can be saved with the run and repeated."""

    network: str
    sources: tuple[DataSource, ...]
    phases: tuple[Phase, ...]
    skeleton: str = "body_18"
    seed: int = 0
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    average_decay: float = 0.98
    average_every: int = 10
    checkpoint_every: int = 200
    pipeline: PipelineOptions = PipelineOptions()
    targets: TargetOptions = TargetOptions()
    losses: LossOptions = LossOptions()
    network_options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return dataclasses.asdict(self)
