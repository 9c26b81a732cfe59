"""Accuracy of a network that is being trained, on held-out pictures, through the code that serves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import keras

from shared.errors import YaopError
from shared.geometry import Shape
from shared.inference.estimator import PoseEstimator
from shared.skeleton import load_skeleton
from trainer.engine import KerasEngine
from trainer.models.registry import get_network
from trainer.recipe import Recipe

Evaluate = Callable[[keras.Model], Mapping[str, float]]
"""Gives accuracy by name, ``ap`` among them, of a float32 network."""

_MULTIPLE = 32
_NOT_SCORES = ("images", "resolution")


class ValidationError(YaopError):
    """The recipe names held-out data that is not there."""


def make_evaluate(recipe: Recipe, data: str | None) -> Evaluate | None:
    """A function that measures AP on the recipe's held-out pictures (the first ones, as many as it says).

    Args:
        data: local folder of annotations and pictures.

    Returns:
        None if the recipe has no such data, or `data` is None.

    Raises:
        ValidationError: the annotations or the pictures are missing.
    """
    held_out = recipe.evaluation
    if held_out is None or data is None:
        return None
    annotations, images = Path(data) / held_out.annotations, Path(data) / held_out.images
    for place in (annotations, images):
        if not place.exists():
            raise ValidationError(
                f"{place}: missing, and the recipe evaluates on it; give --data, or --set evaluation=null"
            )
    skeleton, stride, side = load_skeleton(recipe.skeleton), get_network(recipe.network).stride, held_out.resolution

    @lru_cache(maxsize=1)  # a run evaluates one network again and again: its graphs are made once
    def engine(network: keras.Model) -> KerasEngine:
        return KerasEngine(network, skeleton, stride, training_shapes(side))

    def evaluate(network: keras.Model) -> Mapping[str, float]:
        from trainer.evaluation import evaluate as measure

        estimator = PoseEstimator(engine(network), skeleton)
        result = measure(estimator, annotations, images, resolution=side, limit=held_out.limit, skeleton=skeleton)
        scores = dataclasses.asdict(result.accuracy)
        return {name: value for name, value in scores.items() if name not in _NOT_SCORES}

    return evaluate


def training_shapes(side: int) -> tuple[Shape, ...]:
    """Network inputs (height, width) with this long side: three, so that a few graphs do for all pictures."""
    long = -(-side // _MULTIPLE) * _MULTIPLE
    short = -(-side * 3 // (4 * _MULTIPLE)) * _MULTIPLE
    return tuple(dict.fromkeys([(long, long), (short, long), (long, short)]))
