"""Eight pictures, learnt by heart: if targets, geometry, loss, decoding, export or evaluation disagree, AP is low.

Batch norms keep the statistics they come with: of the same eight pictures over and over they would learn others than
inference uses, and for so few steps those never settle.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from shared.bundle import Manifest
from shared.geometry import Shape
from shared.inference.engine import Fields, PoseArrays, load_engine
from shared.inference.estimator import PoseEstimator
from shared.skeleton import BODY_18
from trainer.data.augment import AugmentOptions
from trainer.data.coco import Record, load_dataset
from trainer.data.pipeline import PipelineOptions
from trainer.data.records import write_records
from trainer.data.smoke import make_smoke_data
from trainer.data.targets import render_targets
from trainer.decoding import decode
from trainer.engine import KerasEngine
from trainer.evaluation import evaluate
from trainer.export import export_bundle
from trainer.fit import fit
from trainer.initial import load_initial
from trainer.models.registry import build_network
from trainer.recipe import DataSource, Phase, Recipe

SIDE = 128
STRIDE = 4
PICTURES = 8
AS_SERVED = AugmentOptions(
    long_side=(SIDE, SIDE), person_side=(1.0, 1e6), rotation=0, jitter=0, flip=0, color=0, gray=0, degrade=0
)
"""The sample is the whole square picture, as letterboxing makes it."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first eight square pictures of the smoke data: in `eight.json`, and as records."""
    folder = tmp_path_factory.mktemp("data")
    make_smoke_data(folder)
    content = json.loads((folder / "smoke" / "train.json").read_text())
    square = [image for image in content["images"] if image["width"] == image["height"]]
    content["images"] = square[:PICTURES]
    chosen = {image["id"] for image in content["images"]}
    content["annotations"] = [person for person in content["annotations"] if person["image_id"] in chosen]
    (folder / "eight.json").write_text(json.dumps(content))
    write_records(_records(folder), str(folder / "records" / "eight"), skeleton=BODY_18, workers=1)
    return folder


def _records(data: Path) -> list[Record]:
    return load_dataset(data / "eight.json", data / "smoke" / "images", BODY_18)[0]


def _ap(estimator: PoseEstimator, data: Path) -> float:
    result = evaluate(estimator, data / "eight.json", data / "smoke" / "images", resolution=SIDE)
    assert result.accuracy.images == PICTURES
    return result.accuracy.ap


class TargetsEngine:
    """In place of a network: the fields that training asks for, of one picture after the other."""

    name = "targets"
    shapes: tuple[Shape, ...] = ((SIDE, SIDE),)

    def __init__(self, records: list[Record]) -> None:
        self._records = iter(records)

    def pose(self, images: np.ndarray) -> PoseArrays:
        record = next(self._records)
        scale = SIDE / record.size[0]
        keypoints = record.keypoints.copy()
        keypoints[..., :2] = (keypoints[..., :2] + 0.5) * scale - 0.5
        sizes = (record.boxes[:, 2:].max(axis=1) * scale).astype(np.float32)
        cells = (SIDE // STRIDE, SIDE // STRIDE)
        heatmaps, pafs = render_targets(keypoints[None], sizes[None], cells, STRIDE, BODY_18)
        peaks, limbs = decode(heatmaps, pafs, skeleton=BODY_18, stride=STRIDE)
        return PoseArrays(np.asarray(peaks), np.asarray(limbs))

    def fields(self, images: np.ndarray) -> Fields:
        raise AssertionError("evaluation without flip needs no fields")

    def decode(self, fields: Fields) -> PoseArrays:
        raise AssertionError("evaluation without flip decodes nothing itself")

    def warm_up(self, shapes: object) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def test_the_fields_that_training_asks_for_decode_to_the_labels(data: Path) -> None:
    estimator = PoseEstimator(TargetsEngine(_records(data)), BODY_18)
    assert _ap(estimator, data) > 0.99


def _network() -> keras.Model:
    return build_network("mobilenet_fpn", BODY_18)


def _recipe() -> Recipe:
    norms = tuple(layer.name for layer in _network().layers if isinstance(layer, keras.layers.BatchNormalization))
    phase = Phase(steps=60, learning_rate=3e-4, warmup=5, frozen=("stem", "block_", "trunk_out", *norms))
    return Recipe(
        network="mobilenet_fpn",
        sources=(DataSource("eight", "eight.json", "smoke/images", augment=AS_SERVED),),
        phases=(phase,),
        initial="shipped",
        average=0.9,
        checkpoint_every=60,
        pipeline=PipelineOptions(side=SIDE, batch=PICTURES, max_people=4, max_ignored=4, threads=1),
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_network_learns_eight_pictures_by_heart(data: Path, tmp_path: Path) -> None:
    network = _network()
    assert load_initial(network, "shipped") == []
    before = _ap(PoseEstimator(KerasEngine(network, BODY_18, STRIDE, [(SIDE, SIDE)]), BODY_18), data)
    result = fit(_recipe(), records=str(data / "records"), data=None, run=str(tmp_path / "run"), tensorboard=False)
    network.load_weights(result.weights)
    manifest = Manifest(
        name="overfit", version="1", skeleton=BODY_18.name, stride=STRIDE, shapes=((SIDE, SIDE),), max_peaks=30,
        licence="Apache-2.0", created="2026-01-01T00:00:00+00:00", architecture="mobilenet_fpn",
    )  # fmt: skip
    engine = load_engine(export_bundle(network, manifest, tmp_path / "overfit"), "litert")
    after = _ap(PoseEstimator(engine, BODY_18), data)
    assert after > 0.9 and after > before, f"AP {before:.3f} before, {after:.3f} after"
