from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from shared import cli
from trainer import doctor, machine, storage
from trainer.data.augment import AugmentOptions
from trainer.diagnosis import Check, Status
from trainer.doctor import Places, check_data, check_place, check_places
from trainer.machine import Accelerator
from trainer.recipe import DataSource, EvaluationData, Phase, Recipe

RECIPE = """
from trainer.recipe import DataSource, Phase, Recipe
RECIPE = Recipe("mobilenet_fpn", (DataSource("data", "{0}/labels.json", "{0}/images"),), (Phase(1, 1e-3),))
"""
GOOD_CLUSTER = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "data"), str(tmp_path / "records"), str(tmp_path / "runs"))


def statuses(checks: list[Check]) -> dict[str, Status]:
    return {check.name: check.status for check in checks}


def cluster(change: Callable[[Any], object]) -> str:
    """TF_CONFIG with something changed."""
    config = json.loads(json.dumps(GOOD_CLUSTER))
    change(config)
    return json.dumps(config)


@pytest.mark.parametrize(("running", "status"), [((3, 10), "FAIL"), ((3, 11), "OK"), ((3, 13), "OK"), ((4, 0), "FAIL")])
def test_only_supported_pythons_are_fine(running: tuple[int, int], status: str) -> None:
    assert machine.check_python(running).status == status


def test_installed_packages_are_listed_and_a_missing_one_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "REQUIRED_PACKAGES", ("keras", "not-installed-anywhere"))
    monkeypatch.setattr(machine, "OPTIONAL_PACKAGES", ("not-installed-either",))
    found, missing, optional = machine.check_packages()
    assert (found.status, found.detail) == (Status.OK, keras.__version__)
    assert (missing.status, missing.detail) == (Status.FAIL, "not installed") and "yaop[train]" in missing.hint
    assert (optional.status, optional.detail) == (Status.OK, "not installed")


def test_every_required_package_is_named_as_its_distribution_is() -> None:
    assert all(check.status is Status.OK for check in machine.check_packages())


def test_an_unsupported_or_broken_backend_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_backend().status is Status.OK
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert "torch is not supported" in machine.check_backend().detail
    monkeypatch.setitem(sys.modules, "keras", None)
    check = machine.check_backend()
    assert check.status is Status.FAIL and "cannot be imported" in check.detail and "jax" in check.hint


def test_a_missing_tensorboard_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_tensorboard().status is Status.OK
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert machine.check_tensorboard().status is Status.FAIL


def test_a_gpu_that_no_framework_can_use_is_a_warning() -> None:
    gpu = Accelerator("gpu", "H100", (9, 0))
    assert machine.check_accelerators([gpu], nvidia=True).detail == "GPU H100"
    assert machine.check_accelerators([], nvidia=False).status is Status.OK
    check = machine.check_accelerators([], nvidia=True)
    assert check.status is Status.WARN and "yaop[gpu]" in check.hint


@pytest.mark.parametrize(
    ("accelerators", "best"),
    [
        ([], "float32"),
        ([Accelerator("gpu", "P100", (6, 0))], "float32"),
        ([Accelerator("gpu", "V100", (7, 0))], "mixed_float16"),
        ([Accelerator("gpu", "A100", (8, 0)), Accelerator("gpu", "V100", (7, 0))], "mixed_float16"),
        ([Accelerator("gpu", "A100", (8, 0))], "mixed_bfloat16"),
        ([Accelerator("gpu", "unknown")], "float32"),
        ([Accelerator("tpu", "v4")], "mixed_bfloat16"),
    ],
)
def test_the_precision_follows_the_weakest_processor(accelerators: list[Accelerator], best: str) -> None:
    assert machine.best_precision(accelerators) == best


def test_a_recipe_with_half_precision_on_a_cpu_is_a_warning() -> None:
    check = machine.check_precision([], "mixed_float16")
    assert check.status is Status.WARN and check.hint == "--set precision=float32"
    gpu = [Accelerator("gpu", "A100", (8, 0))]
    assert machine.check_precision(gpu, "float32").hint == "faster: --set precision=mixed_bfloat16"
    assert machine.check_precision(gpu, "mixed_bfloat16").hint == ""


def test_processors_and_memory_are_told_and_little_memory_is_a_warning() -> None:
    assert machine.check_processors().detail.partition(" ")[0].isdigit()
    assert machine.memory_bytes() > 100_000_000
    assert machine.memory_check(2_000_000_000).status is Status.WARN
    assert machine.memory_check(8_000_000_000).detail == "8.0 GB"


def test_a_good_cluster_is_described() -> None:
    check = machine.check_cluster({"TF_CONFIG": json.dumps(GOOD_CLUSTER)})
    assert (check.status, check.detail) == (Status.OK, "cluster of 2 worker; this is worker 1")
    assert machine.check_cluster({}).status is Status.OK


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", 'no "cluster"'),
        ("{}", 'no "cluster"'),
        (cluster(lambda config: config["cluster"].update(worker=[])), 'no "cluster"'),
        (cluster(lambda config: config["cluster"].update(worker=["a", "b:2"])), 'no "cluster"'),
        (cluster(lambda config: config.pop("task")), 'no "task" whose type is one of worker'),
        (cluster(lambda config: config["task"].update(type="chief")), 'no "task"'),
        (cluster(lambda config: config["task"].update(index=2)), "is 2, not one of 0 to 1"),
        (cluster(lambda config: config["task"].update(index="1")), "is '1'"),
    ],
)
def test_a_wrong_cluster_is_a_failure(text: str, problem: str) -> None:
    check = machine.check_cluster({"TF_CONFIG": text})
    assert check.status is Status.FAIL and problem in check.detail and "host:port" in check.hint


def test_a_tpu_is_marked_as_not_tested() -> None:
    assert machine.check_tpu({}, remote=False).status is Status.OK
    check = machine.check_tpu({"TPU_NAME": "mine"}, remote=False)
    assert check.status is Status.WARN and "TPU_NAME=mine; YAOP was not tested on a TPU" in check.detail
    assert "gs://" in check.hint and "gs://" not in machine.check_tpu({"TPU_NAME": "mine"}, remote=True).hint


def test_folders_are_usable_whether_or_not_they_are_there_and_nothing_is_made(places: Places, tmp_path: Path) -> None:
    Path(places.runs).mkdir()
    checks = {check.name: check for check in check_places(places)}
    assert all(check.status is Status.OK for check in checks.values())
    assert "is there" in checks["runs"].detail and "will be made" in checks["data"].detail
    assert "YAOP_MODELS_DIR" in checks["bundles"].hint
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_relative_folders_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "will be made" in check_place("runs", "some/runs").detail


def test_a_folder_that_cannot_be_written_matters_where_training_writes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = str(tmp_path / "file" / "folder")
    checks = statuses(check_places(Places(wrong, wrong, wrong, wrong)))
    assert checks == {"data": "WARN", "records": "WARN", "runs": "FAIL", "bundles": "FAIL"}


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LITTLE_DISK", 1 << 62)
    assert check_place("runs", str(tmp_path)).status is Status.WARN


def test_a_bucket_is_written_to_and_left_as_it_was() -> None:
    storage.make_folder("ram://doctor/runs")
    assert check_place("runs", "ram://doctor/runs").status is Status.OK
    assert storage.list_folder("ram://doctor/runs") == []


def test_a_bucket_that_cannot_be_reached_is_a_failure() -> None:
    check = check_place("runs", "nosuch://bucket/runs")
    assert check.status is Status.FAIL and check.detail.startswith("nosuch://bucket/runs: ")


def test_a_bucket_that_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(storage, "exists", lambda location: never.wait(20))
    check = check_place("runs", "gs://bucket/runs", seconds=0.05)
    never.set()
    assert (check.status, check.detail) == (Status.FAIL, "gs://bucket/runs: no answer within 0.05 s")


def test_data_sets_of_a_recipe_are_looked_for(places: Places) -> None:
    recipe = Recipe(
        "mobilenet_fpn",
        tuple(DataSource(name, f"{name}/labels.json", f"{name}/images") for name in ("coco", "mine", "smoke", "there")),
        (Phase(1, 1e-3),),
        EvaluationData("there/labels.json", "there/val"),
    )
    (Path(places.data) / "there" / "images").mkdir(parents=True)
    (Path(places.data) / "there" / "labels.json").write_text("{}")
    checks = {check.name: check for check in check_data(recipe, places)}
    assert checks["data: coco"].status is Status.FAIL
    assert checks["data: coco"].detail == f"coco/labels.json, coco/images not in {places.data}"
    assert "yaop train download" in checks["data: coco"].hint
    assert checks["data: mine"].status is Status.FAIL and "--data" in checks["data: mine"].hint
    assert checks["data: smoke"].status is Status.OK and "will be made" in checks["data: smoke"].detail
    assert checks["data: there"].status is Status.OK
    assert checks["data: evaluation"].detail == f"there/val not in {places.data}"


def run_doctor(places: Places, *arguments: str) -> int:
    where = ["--data", places.data, "--records", places.records, "--runs", places.runs]
    return cli.main(["train", "doctor", *where, *arguments])


def test_the_command_prints_a_table_and_succeeds_on_this_machine(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.py").write_text(RECIPE.format("smoke"))
    code = run_doctor(places, "--recipe", str(tmp_path / "recipe.py"))
    printed = capsys.readouterr().out
    assert code == 0, printed
    lines = printed.splitlines()
    assert any(line.startswith("OK    Keras backend") for line in lines)
    assert not any(line.startswith("FAIL") for line in lines)
    assert any(line.strip().startswith("-> ") for line in lines)


def test_the_command_fails_with_2_and_says_why_as_json(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(RECIPE.format("mine"))
    monkeypatch.setenv("TF_CONFIG", "not JSON")
    assert run_doctor(places, "--json", "--recipe", str(tmp_path / "mine.py")) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    failures = {check["name"]: check for check in found["checks"] if check["status"] == "FAIL"}
    assert set(failures) == {"data: data", "TF_CONFIG"}
    assert failures["data: data"]["hint"] == "put it there, or choose another --data"


def test_an_unknown_recipe_is_a_finding(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_doctor(places, "--recipe", "nonsense") == 2
    assert "FAIL  recipe" in capsys.readouterr().out


def test_records_stand_in_for_the_data_set(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.data import records

    class Manifest:
        pictures = 7

    monkeypatch.setattr(records, "read_manifest", lambda folder: Manifest())
    recipe = Recipe("mobilenet_fpn", (DataSource("a", "a.json", "a", augment=AugmentOptions()),), (Phase(1, 1e-3),))
    (check,) = check_data(recipe, places)
    assert (check.status, check.detail) == (Status.OK, f"{places.records}/a: records of 7 pictures")
