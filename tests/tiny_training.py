"""A network that trains in milliseconds, batches for it, and a recipe: for tests of the loop, not of learning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from shared.skeleton import Skeleton, get_skeleton
from trainer.data.pipeline import PipelineOptions
from trainer.models import registry
from trainer.models.layers import Normalize, as_float32, conv_bn
from trainer.recipe import DataSource, Phase, Recipe

SKELETON = get_skeleton("body_18")
BATCH = 4
SIDE = 32


def build(skeleton: Skeleton, *, width: int = 8) -> keras.Model:
    """Two convolutions with batch norms that learn, at stride 4, and a head for each field."""
    images = keras.Input((None, None, 3), name="images")
    x = conv_bn(Normalize(name="normalize")(images), width, "stem", kernel=3, strides=2)
    x = conv_bn(x, width, "body", kernel=3, strides=2)
    heatmaps = layers.Conv2D(skeleton.num_keypoints, 1, activation="sigmoid", name="heatmap_output")(x)
    pafs = layers.Conv2D(2 * skeleton.num_limbs, 1, name="paf_output")(x)
    outputs = {"heatmaps": as_float32(heatmaps, "heatmaps"), "pafs": as_float32(pafs, "pafs")}
    return keras.Model(images, outputs, name="tiny")


registry.NETWORKS.setdefault("tiny", registry.Network(build, 4))

RECIPE = Recipe(
    network="tiny",
    sources=(DataSource("synthetic", "none.json", "none"),),
    phases=(
        Phase(steps=6, learning_rate=1e-2, warmup=2, frozen=("stem",)),
        Phase(steps=6, learning_rate=5e-3, warmup=2, rates=(("stem", 0.1),)),
    ),
    checkpoint_every=4,
    log_every=2,
    pipeline=PipelineOptions(side=SIDE, batch=BATCH, max_people=2),
)


def recipe(**changes: Any) -> Recipe:
    """`RECIPE` with fields replaced."""
    return dataclasses.replace(RECIPE, **changes)


def batches_from(worker: tuple[int, int] = (0, 1), size: int = BATCH) -> Callable[[int], Iterator[dict[str, Any]]]:
    """Endless batches for `trainer.fit.train`, this worker's part of each; batch i depends on i only."""

    def batches(start: int) -> Iterator[dict[str, Any]]:
        number = start
        while True:
            yield {name: np.array_split(value, worker[1])[worker[0]] for name, value in _batch(number, size).items()}
            number += 1

    return batches


def _batch(number: int, size: int) -> dict[str, Any]:
    random = np.random.default_rng([7, number])
    points = random.uniform(0, SIDE, (size, 2, SKELETON.num_keypoints, 2))
    cells = SIDE // 4
    return {
        "images": random.integers(0, 256, (size, SIDE, SIDE, 3), dtype=np.uint8),
        "keypoints": np.concatenate([points, np.full((*points.shape[:3], 1), 2.0)], -1).astype(np.float32),
        "sizes": np.full((size, 2), 40.0, np.float32),
        "mask": (random.uniform(size=(size, cells, cells, 1)) > 0.1).astype(np.uint8),
        "keypoint_weights": np.ones((size, SKELETON.num_keypoints), np.float32),
        "limb_weights": np.ones((size, SKELETON.num_limbs), np.float32),
    }
