"""The whole training job from an empty folder, by its command, and the service on what came out."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests import photos
from tests.api_client import JPEG
from tests.server_process import REAL, run_yaop, running

# Shorter than `make train`, whose time and accuracy are in the README; the same steps in the same order.
SHORT = (
    "--set", "phases.0.steps=4", "--set", "phases.0.warmup=1", "--set", "pipeline.batch=4", "--set", "log_every=2",
    "--set", "evaluation.every=0", "--set", "evaluation.limit=2", "--set", "export=[256]",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the job has run."""
    folder = tmp_path_factory.mktemp("empty")
    done = run_yaop("train", "run", "--recipe", "smoke", "--run", "runs/short", *SHORT, cwd=folder, seconds=1000)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return folder


def test_one_command_leads_from_an_empty_folder_to_a_measured_bundle(folder: Path) -> None:
    run = folder / "runs" / "short"
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    assert {row["resolution"] for row in manifest["accuracy"]} == {256}
    assert manifest["accuracy"][0]["ap"] > 0.5, "the shipped model, trained on for four steps, knows these people"
    assert "train run --recipe smoke" in manifest["training"]["command"], "it says how to make it again"
    report = (run / "report.html").read_text()
    assert "AP at 256 px" in report and report.count("data:image/png") >= 1


def test_the_service_answers_with_the_promoted_model(folder: Path) -> None:
    promoted = run_yaop("models", "promote", folder / "runs" / "short", "--models-dir", folder / "models")
    assert promoted.returncode == 0, promoted.stderr.decode()
    version = json.loads((folder / "runs" / "short" / "bundle" / "manifest.json").read_text())["version"]
    with running(*REAL, models_dir=str(folder / "models"), engine="litert") as server:
        answer = httpx.post(
            f"{server.url}/pose?resolution=fast", content=photos.encode(photos.astronaut()), headers=JPEG, timeout=60
        ).json()
    assert answer["model"] == {"name": "mobilenet_fpn", "version": version}
    nose = answer["people"][0]["keypoints"]["nose"]
    assert abs(nose["x"] - 222) < 12 and abs(nose["y"] - 116) < 12


def test_the_same_command_again_trains_and_exports_nothing_anew(folder: Path) -> None:
    weights = folder / "runs" / "short" / "final.weights.h5"
    before = weights.stat().st_mtime_ns
    done = run_yaop("train", "run", "--recipe", "smoke", "--run", "runs/short", *SHORT, cwd=folder, seconds=600)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert b"converted" not in done.stdout
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "nothing"), "unknown recipe 'nothing'"),
        (("--recipe", "smoke", "--set", "pipeline.side=100"), "must be a multiple of 32"),
        (("--recipe", "smoke", "--set", "pipeline.colour=1"), "no field 'colour'"),
        (("--recipe", "mobilenet_fpn"), "--movenet or YAOP_TRAIN_MOVENET"),
        (("--recipe", "openpose_vgg19"), "there is no such data"),
        (("--recipe", "smoke", "--distribution", "mirrored", "--devices", "3"), "must divide among 3 replicas"),
        (("--recipe", "smoke", "--distribution", "tpu"), "needs gs:// addresses"),
        (("--recipe", "smoke", "--distribution", "gpu"), "no GPU here"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_any_work(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run_yaop("train", "run", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    errors = [line for line in done.stderr.decode().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert not any(tmp_path.iterdir()), "something was written before"
