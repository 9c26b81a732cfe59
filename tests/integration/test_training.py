"""The training loop: phases, going on after a cut, what stops it, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from shared.skeleton import BODY_18
from tests import coco_files, tiny_training
from tests.records_fixture import numbered_records, write_folder
from tests.tiny_training import RECIPE, SKELETON, batches_from, recipe
from trainer import fit as fitting
from trainer.checkpoints import load_newest
from trainer.distribution import Distribution, open_distribution
from trainer.events import Event
from trainer.fit import FitResult, train
from trainer.hooks import Hook
from trainer.initial import InitialError, load_initial
from trainer.meters import TrainingError
from trainer.models.registry import build_network
from trainer.objective import Objective
from trainer.recipe import EvaluationData, Phase, Recipe, RecipeError, load_recipe
from trainer.storage import StorageError
from trainer.validation import ValidationError
from trainer.weights import load_weights, save_weights

# Each new phase compiles; a machine that is busy with other things takes its time over it.
pytestmark = pytest.mark.timeout(600)

SHORT = recipe(phases=(Phase(steps=4, learning_rate=1e-2, warmup=1),), checkpoint_every=2, log_every=1)


@pytest.fixture(scope="module")
def cpu() -> Distribution:
    return open_distribution("cpu")


class CutOffError(Exception):
    """Stands for the kill."""


class CutAfter(Hook):
    def __init__(self, step: int) -> None:
        self.last = step

    def stepped(self, step: int) -> None:
        if step == self.last:
            raise CutOffError


class Notes(Hook):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.steps: list[int] = []

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def said(self, text: str) -> None:
        self.messages.append(text)


def go(folder: Path, cpu: Distribution, chosen: Recipe = RECIPE, *hooks: Hook, **options: Any) -> FitResult:
    return train(chosen, str(folder), cpu, batches_from=batches_from(), hooks_from=lambda done: hooks, **options)


def weights_of(address: str | Path) -> list[Any]:
    network = tiny_training.build(SKELETON)
    load_weights(network, address)
    return network.get_weights()


def without_speed(events: tuple[Event, ...]) -> list[Event]:
    return [{name: value for name, value in event.items() if name != "images_per_second"} for event in events]


@pytest.fixture(scope="module")
def unbroken(cpu: Distribution, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, go(folder, cpu)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(5,), (6, 11)], ids=["in a phase", "between phases and again"])
def test_a_run_that_was_cut_off_goes_on_and_ends_as_if_nothing_had_happened(
    unbroken: tuple[Path, FitResult], cpu: Distribution, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    for cut in cuts:
        with pytest.raises(CutOffError):
            go(tmp_path, cpu, RECIPE, CutAfter(cut))
    notes = Notes()
    result = go(tmp_path, cpu, RECIPE, notes)
    last_checkpoint = {5: 4, 11: 8}[cuts[-1]]
    assert notes.steps == list(range(last_checkpoint + 1, 13)), "only the steps since the checkpoint are repeated"
    assert without_speed(result.history) == without_speed(unbroken[1].history)
    for mine, theirs in zip(weights_of(result.weights), weights_of(unbroken[1].weights), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_training_lowers_the_loss_and_logs_it(unbroken: tuple[Path, FitResult]) -> None:
    folder, result = unbroken
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert lines == list(result.history)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert [line["phase"] for line in lines] == [0, 0, 0, 1, 1, 1]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert all(line["loss"] == pytest.approx(line["heatmap"] + line["paf"]) for line in lines)
    assert all(line["images_per_second"] > 0 for line in lines)


@pytest.mark.slow
def test_the_resolved_recipe_is_saved_with_the_run(unbroken: tuple[Path, FitResult]) -> None:
    assert Recipe.from_json(json.loads((unbroken[0] / "recipe.json").read_text())) == RECIPE


@pytest.mark.slow
def test_layers_frozen_in_a_phase_keep_their_weights_and_the_others_learn(
    unbroken: tuple[Path, FitResult], cpu: Distribution, tmp_path: Path
) -> None:
    with pytest.raises(CutOffError):
        go(tmp_path, cpu, recipe(keep=1, checkpoint_every=6), CutAfter(7))
    saved = load_newest(str(tmp_path / "checkpoints"), print)
    assert saved is not None
    keras.utils.set_random_seed(RECIPE.seed)
    fresh = tiny_training.build(SKELETON)
    for number, variable in enumerate(fresh.variables):
        now = saved.values[f"network/{number:05d}/{variable.path}"]
        same = np.array_equal(now, np.asarray(variable.value))
        assert same is variable.path.startswith("stem"), variable.path


@pytest.mark.slow
def test_a_finished_run_started_again_does_nothing(unbroken: tuple[Path, FitResult], cpu: Distribution) -> None:
    before = Path(unbroken[1].weights).stat()
    notes = Notes()
    assert go(unbroken[0], cpu, RECIPE, notes) == unbroken[1]
    assert notes.steps == []
    assert Path(unbroken[1].weights).stat() == before


@pytest.mark.slow
def test_another_recipe_is_refused_and_what_does_not_matter_is_not(
    unbroken: tuple[Path, FitResult], cpu: Distribution
) -> None:
    other = recipe(phases=(dataclasses.replace(RECIPE.phases[0], steps=7), RECIPE.phases[1]), clip_norm=2.0)
    with pytest.raises(RecipeError, match=r"clip_norm 1\.0, not 2\.0; phases\.0\.steps 6, not 7"):
        go(unbroken[0], cpu, other)
    assert go(unbroken[0], cpu, recipe(keep=9, log_every=5)).weights == unbroken[1].weights
    (unbroken[0] / "recipe.json").write_text(json.dumps(RECIPE.to_json()))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_and_named(
    unbroken: tuple[Path, FitResult], cpu: Distribution, tmp_path: Path
) -> None:
    with pytest.raises(CutOffError):
        go(tmp_path, cpu, RECIPE, CutAfter(9))
    newest = tmp_path / "checkpoints" / "step-00000008.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    notes = Notes()
    result = go(tmp_path, cpu, RECIPE, notes)
    assert notes.messages == [f"{newest}: damaged (its checksum differs); trying the checkpoint before it"]
    assert notes.steps[0] == 7
    assert result.history[-1]["loss"] == unbroken[1].history[-1]["loss"]


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_one_line_and_it_goes_on_when_there_is_room(
    cpu: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "step-00000004.ckpt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match=r"step-00000004\.ckpt: No space left on device"):
            go(tmp_path, cpu, SHORT)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.ckpt"]
    notes = Notes()
    go(tmp_path, cpu, SHORT, notes)
    assert notes.steps == [3, 4]


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(cpu: Distribution, tmp_path: Path) -> None:
    def poisoned(start: int) -> Iterator[Mapping[str, Any]]:
        for number, batch in enumerate(batches_from()(start), start=start + 1):
            if number == 4:
                batch["limb_weights"][:] = np.nan
            yield batch

    last_good = r"step 4: the loss is nan .*the last good checkpoint is step-00000003\.ckpt"
    chosen = dataclasses.replace(SHORT, checkpoint_every=3, log_every=50)
    with pytest.raises(TrainingError, match=last_good):
        train(chosen, str(tmp_path), cpu, batches_from=poisoned)
    assert load_newest(str(tmp_path / "checkpoints"), print) is not None


@pytest.mark.slow
def test_the_averaged_weights_with_the_highest_ap_are_kept(cpu: Distribution, tmp_path: Path) -> None:
    given = iter([0.3, 0.5, 0.4])
    seen: list[list[Any]] = []

    def evaluate(network: keras.Model) -> dict[str, float]:
        seen.append(network.get_weights())
        return {"ap": next(given), "ap50": 0.9}

    chosen = dataclasses.replace(
        SHORT,
        phases=(Phase(steps=6, learning_rate=1e-2, warmup=1),),
        evaluation=EvaluationData("none.json", "none", every=2),
        precision="mixed_bfloat16",
    )
    result = go(tmp_path, cpu, chosen, evaluate=evaluate)
    assert result.best_ap == 0.5
    assert [event["ap"] for event in result.history if "ap" in event] == [0.3, 0.5, 0.4]
    assert result.best is not None
    for address, index in ((result.best, 1), (result.weights, 2)):
        for kept, evaluated in zip(weights_of(address), seen[index], strict=True):
            np.testing.assert_array_equal(kept, evaluated)
    saved = load_newest(str(tmp_path / "checkpoints"), print)
    assert saved is not None
    assert saved.progress.best == 0.5
    raw = [value for name, value in saved.values.items() if name.startswith("network/")]
    assert any(not np.array_equal(a, b) for a, b in zip(raw, seen[2], strict=True)), "the average, not the weights"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_to_about_the_same_loss(cpu: Distribution, tmp_path: Path, precision: Any) -> None:
    losses = [
        go(tmp_path / chosen.precision, cpu, chosen).history[-1]["loss"]
        for chosen in (SHORT, dataclasses.replace(SHORT, precision=precision))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert keras.config.dtype_policy().name == "float32"


def test_a_weights_file_of_another_skeleton_leaves_only_the_heads(tmp_path: Path) -> None:
    source, network = tiny_training.build(SKELETON), tiny_training.build(dataclasses.replace(SKELETON, limbs=((0, 1),)))
    save_weights(source, tmp_path / "source.weights.h5")
    left = load_initial(network, str(tmp_path / "source.weights.h5"))
    assert left == ["paf_output"]
    for name in ("stem", "body_bn", "heatmap_output"):
        for mine, theirs in zip(
            network.get_layer(name).get_weights(), source.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_the_weights_come_back_out_of_a_bundle(shipped_bundle: Any) -> None:
    network = build_network("mobilenet_fpn", BODY_18)
    assert load_initial(network, str(shipped_bundle.path)) == []
    checkpoint = Path("models/checkpoints/mobilenet_fpn.weights.h5")
    assert float(np.abs(network.get_layer("paf_output").get_weights()[0]).max()) > 0, "zero in a new network"
    if checkpoint.exists():
        stored = build_network("mobilenet_fpn", BODY_18)
        stored.load_weights(checkpoint)
        assert [weight.shape for weight in stored.get_weights()] == [weight.shape for weight in network.get_weights()]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "expected a .weights.h5 file, the folder of a bundle"),
        ("nowhere.weights.h5", "No such file"),
        ("movenet", "--movenet or YAOP_TRAIN_MOVENET"),
    ],
)
def test_initial_weights_that_are_not_there_are_refused_in_one_line(source: str, message: str) -> None:
    with pytest.raises((InitialError, StorageError), match=message):
        load_initial(tiny_training.build(SKELETON), source)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    save_weights(other, tmp_path / "other.weights.h5")
    with pytest.raises(InitialError, match="has none of the layers of tiny"):
        load_initial(tiny_training.build(SKELETON), str(tmp_path / "other.weights.h5"))
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(InitialError, match="not a weights file"):
        load_initial(tiny_training.build(SKELETON), str(tmp_path / "text.weights.h5"))


def test_intermediate_stages_of_the_papers_network_are_supervised() -> None:
    network = build_network("openpose_vgg19", BODY_18, block_width=4, stage_width=4)
    objective = Objective(BODY_18, 8, RECIPE.targets, RECIPE.losses)
    batch = next(batches_from(size=1)(0))
    batch |= {"images": np.zeros((1, 64, 64, 3), np.uint8), "mask": np.ones((1, 8, 8, 1), np.uint8)}
    outputs = network(batch["images"].astype(np.float32))
    rendered = objective.render(batch)
    whole = sum(map(float, objective.losses_of(outputs, rendered, batch, 1.0)))
    last = {part: outputs[part] for part in ("heatmaps", "pafs")}
    assert whole > sum(map(float, objective.losses_of(last, rendered, batch, 1.0))) > 0


def test_masked_cells_do_not_count() -> None:
    objective = Objective(SKELETON, 4, RECIPE.targets, RECIPE.losses)
    batch = next(batches_from()(0)) | {"mask": np.zeros((4, 8, 8, 1), np.uint8)}
    outputs = tiny_training.build(SKELETON)(batch["images"].astype(np.float32))
    assert [float(loss) for loss in objective.losses_of(outputs, objective.render(batch), batch, 1.0)] == [0.0, 0.0]


def test_an_unknown_recipe_is_refused_with_the_known_names() -> None:
    with pytest.raises(RecipeError, match="mobilenet_fpn"):
        load_recipe("resnet")


@pytest.mark.slow
def test_a_run_on_records_evaluates_and_writes_for_tensorboard_and_report(tmp_path: Path) -> None:
    annotations, images = coco_files.write(tmp_path / "data", coco_files.content())
    write_folder(tmp_path / "records" / "synthetic", numbered_records(tmp_path / "pictures", 8))
    held_out = EvaluationData(annotations.name, images.name, resolution=64, every=2)
    chosen = dataclasses.replace(SHORT, evaluation=held_out)
    places = {"records": str(tmp_path / "records"), "data": str(annotations.parent), "run": str(tmp_path / "run")}
    result = fitting.fit(chosen, **places)
    assert [event["step"] for event in result.history if "ap" in event] == [2, 4]
    assert result.best is not None
    assert Path(result.best).exists()
    assert sorted(path.name for path in (tmp_path / "run" / "pictures").iterdir()) == [
        f"sample_{i}.png" for i in range(4)
    ]
    assert "<html" in (tmp_path / "run" / "report.html").read_text()
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    content = events.read_bytes()
    for tag in (b"loss/heatmap", b"learning_rate", b"images_per_second", b"accuracy/ap", b"sample_0"):
        assert tag in content


@pytest.mark.slow
def test_held_out_data_that_is_missing_is_said_before_any_work(tmp_path: Path) -> None:
    chosen = dataclasses.replace(SHORT, evaluation=EvaluationData("none.json", "none"))
    with pytest.raises(ValidationError, match=r"none\.json: missing.* --set evaluation=null"):
        fitting.fit(chosen, records=str(tmp_path), data=str(tmp_path), run=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_missing_records_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="synthetic: no records here"):
        fitting.fit(RECIPE, records=str(tmp_path), data=None, run=str(tmp_path / "run"), tensorboard=False)
