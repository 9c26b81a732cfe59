"""The installed commands in processes of their own, on the bundle that ships."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from shared.bundle import Bundle
from tests import photos
from tests.server_process import REAL, run_yaop, running

NOSE = (223, 110)
CLEARLY = "0.15"  # a score well above that of the rocket whose tip looks a little like a face


@pytest.fixture(autouse=True)
def _needs_the_bundle(shipped_bundle: Bundle) -> None:
    assert shipped_bundle.litert is not None


def nose(frame: dict[str, Any]) -> tuple[float, float]:
    point = frame["people"][0]["keypoints"]["nose"]
    return point["x"], point["y"]


def errors(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """What the command complained of; the runtime's own notes on standard error do not count."""
    lines = done.stderr.decode().splitlines()
    assert not any("Traceback" in line for line in lines)
    return [line for line in lines if not line.startswith("INFO: ")]


def test_pose_finds_the_person_in_a_photograph(astronaut_file: Path) -> None:
    done = run_yaop("pose", astronaut_file, "--min-score", CLEARLY, engine="litert")
    assert done.returncode == 0
    assert errors(done) == []
    frame = json.loads(done.stdout)
    assert len(frame["people"]) == 1
    assert nose(frame) == pytest.approx(NOSE, abs=20)


def test_pose_draws_the_person(astronaut_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "overlay.png"
    assert run_yaop("pose", astronaut_file, "--out", target).returncode == 0
    overlay, source = cv2.imread(str(target)), cv2.imread(str(astronaut_file))
    assert overlay is not None
    assert source is not None
    assert 500 < (cv2.absdiff(overlay, source).max(axis=-1) > 60).sum() < 60_000


def test_pose_agrees_with_the_server(astronaut_file: Path) -> None:
    import httpx

    local = json.loads(run_yaop("pose", astronaut_file, engine="litert").stdout)
    with running(*REAL, engine="litert") as server:
        remote = httpx.post(f"{server.url}/pose", files={"image": astronaut_file.read_bytes()}, timeout=30).json()
    assert remote["people"] == local["people"]


def test_pose_of_a_folder_with_a_bad_file(astronaut_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    astronaut_file.with_name("nobody.png").write_bytes(photos.encode(photos.nobody(), "png"))
    done = run_yaop("pose", tmp_path, "--json", tmp_path / "all.jsonl", "--min-score", CLEARLY)
    assert done.returncode == 2
    (error,) = errors(done)
    assert error.startswith(f"error: {tmp_path / 'bad.jpg'}: ")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(Path(line["file"]).name, len(line["people"])) for line in lines] == [
        ("astronaut.jpg", 1),
        ("nobody.png", 0),
    ]


def test_a_reader_that_leaves_early_is_no_error(astronaut_file: Path) -> None:
    command = [sys.executable, "-m", "shared.cli", "pose", *[str(astronaut_file)] * 1, str(astronaut_file.parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.wait(60)
    assert b"Traceback" not in errors


def test_an_unknown_model_is_told_in_one_line(astronaut_file: Path) -> None:
    done = run_yaop("pose", astronaut_file, "--model", "vgg")
    assert done.returncode == 2
    (error,) = errors(done)
    assert "mobilenet_fpn" in error
