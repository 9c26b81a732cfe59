"""The training loop on a data set of a few free photographs."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import keras
import numpy as np
import pytest

from shared.skeleton import BODY_18
from tests import photos
from trainer.cli import RecipeError, load_recipe
from trainer.data.coco import DatasetError
from trainer.models.registry import build_network
from trainer.recipe import Recipe
from trainer.training import AverageWeights, FieldsTraining, LayerwiseAdamW, WarmupCosine, fit
from trainer.weights import save_weights

# The first test compiles two training steps; a machine that is busy with other things takes its time over them.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in COCO's format: two portraits, with rough labels of the upper body."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    joints = np.zeros((17, 3))
    joints[:7] = [[220, 110, 2], [236, 98, 2], [206, 98, 2], [255, 110, 2], [190, 110, 2], [330, 250, 2], [130, 260, 2]]
    images, annotations = [], []
    for number, picture in enumerate((photos.astronaut(), photos.grace_hopper()), start=1):
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), picture[..., ::-1])
        images.append({"id": number, "file_name": f"{number}.jpg"})
        annotations.append(
            {"image_id": number, "num_keypoints": 7, "bbox": [100, 40, 280, 400], "keypoints": joints.ravel().tolist()}
        )
    (folder / "train.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


class CutOffError(Exception):
    """Stands for the kill."""


def _cut_off(self: object, epoch: int, logs: dict[str, Any] | None = None) -> None:
    if epoch == 2:
        raise CutOffError


def _losses(run: Path, phase: int) -> list[float]:
    with (run / f"log_{phase}.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


class CutOffRun(NamedTuple):
    """A smoke run that was cut off after two epochs of its first phase, and started again."""

    folder: Path
    initial: Path
    final: Path
    epochs_before: int


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    smoke = load_recipe("smoke")
    return dataclasses.replace(smoke, phases=(dataclasses.replace(smoke.phases[0], steps=16), smoke.phases[1]))


@pytest.fixture(scope="module")
def run(data: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> CutOffRun:
    folder = tmp_path_factory.mktemp("training")
    initial = folder / "initial.weights.h5"
    keras.utils.set_random_seed(5)
    build_network("mobilenet_fpn", BODY_18, **recipe.network_options).save_weights(initial)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.callbacks.TerminateOnNaN, "on_epoch_begin", _cut_off, raising=False)
        with pytest.raises(CutOffError):
            fit(recipe, data, folder / "run", initial=initial)
    before = len(_losses(folder / "run", 0))
    final = fit(recipe, data, folder / "run", initial=initial)
    return CutOffRun(folder / "run", initial, final, before)


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_where_it_stopped(run: CutOffRun) -> None:
    assert run.epochs_before == 2
    assert len(_losses(run.folder, 0)) == 4, "the first two epochs were not trained again"
    assert len(_losses(run.folder, 1)) == 1


@pytest.mark.slow
def test_training_lowers_the_loss(run: CutOffRun) -> None:
    losses = _losses(run.folder, 0)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_the_resolved_recipe_is_saved_with_the_run(run: CutOffRun, recipe: Recipe) -> None:
    saved = json.loads((run.folder / "recipe.json").read_text())
    assert saved == json.loads(json.dumps(recipe.to_json()))


@pytest.mark.slow
def test_layers_frozen_in_the_first_phase_keep_their_weights_and_the_others_learn(
    run: CutOffRun, recipe: Recipe
) -> None:
    before, after = (build_network("mobilenet_fpn", BODY_18, **recipe.network_options) for _ in range(2))
    before.load_weights(run.initial)
    after.load_weights(run.folder / "phase_0.weights.h5")
    for name, learns in (("stem", False), ("block_16_project_bn", False), ("wide_2_pointwise", True)):
        weights = zip(before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True)
        assert all(np.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in weights) is not learns, name


@pytest.mark.slow
def test_a_finished_run_started_again_gives_the_same_weights(run: CutOffRun, data: Path, recipe: Recipe) -> None:
    networks = []
    for _ in range(2):
        networks.append(build_network("mobilenet_fpn", BODY_18, **recipe.network_options))
        networks[-1].load_weights(run.final)
        assert fit(recipe, data, run.folder) == run.final
    for first, second in zip(networks[0].get_weights(), networks[1].get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert len(_losses(run.folder, 0)) == 4


def test_the_average_goes_on_from_the_one_that_a_run_cut_off_has_left(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="dense")])
    network.set_weights([np.array([[4.0]])])
    save_weights(network, tmp_path / "average.weights.h5")
    network.set_weights([np.array([[2.0]])])
    average = AverageWeights(network, tmp_path / "average.weights.h5", decay=0.5, every=1)
    average.on_train_begin()
    average.on_train_batch_end(0)
    assert float(average.average[0][0, 0]) == pytest.approx(3.0)
    assert float(network.get_weights()[0][0, 0]) == 2.0, "the network itself goes on from its own backup"


def test_rates_slow_down_the_layers_they_name() -> None:
    slow, fast = keras.Variable([1.0], name="trunk_kernel"), keras.Variable([1.0], name="head_kernel")
    optimizer = LayerwiseAdamW(0.1, weight_decay=0.0, rates=(("trunk", 0.1),))
    optimizer.apply([np.ones(1, np.float32)] * 2, [slow, fast])
    assert 1 - float(slow[0]) == pytest.approx(0.1 * (1 - float(fast[0])), rel=1e-3)


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    schedule = WarmupCosine(1.0, warmup=10, steps=110)
    rates = [float(schedule(step)) for step in (0, 9, 60, 110, 500)]
    assert rates == pytest.approx([0.1, 1.0, 0.505, 0.01, 0.01], abs=0.01)


def test_intermediate_stages_of_the_papers_network_are_supervised() -> None:
    recipe = load_recipe("smoke")
    network = build_network("openpose_vgg19", BODY_18, block_width=4, stage_width=4)
    training = FieldsTraining(network, BODY_18, 8, recipe.targets, recipe.losses)
    labels = {
        "keypoints": np.zeros((1, 2, 18, 3), np.float32),
        "sizes": np.zeros((1, 2), np.float32),
        "ignored": np.zeros((1, 1, 3, 2), np.float32),
        "keypoint_weights": np.ones((1, 18), np.float32),
        "limb_weights": np.ones((1, 19), np.float32),
    }
    images = np.zeros((1, 64, 64, 3), np.uint8)
    predicted = training(images)
    whole = float(training.compute_loss(images, labels, predicted))
    last = {key: predicted[key] for key in ("heatmaps", "pafs")}
    assert whole > float(training.compute_loss(images, labels, last)) > 0


def test_missing_data_is_refused_by_name(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(DatasetError, match=r"train\.json"):
        fit(recipe, tmp_path, tmp_path / "run")


def test_an_unknown_recipe_is_refused_with_the_known_names() -> None:
    with pytest.raises(RecipeError, match="mobilenet_fpn, smoke"):
        load_recipe("resnet")
