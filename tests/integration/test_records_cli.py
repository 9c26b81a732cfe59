"""`yaop train records`: what it writes, what it tells, and how it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.cli import main
from tests import coco_files
from trainer.data.records import MANIFEST, read_manifest

RECIPE = """
from trainer.recipe import DataSource, Phase, Recipe

RECIPE = Recipe(
    network="mobilenet_fpn",
    sources=(
        DataSource("people", "people.json", "images"),
        DataSource("nobody", "", "background", weight=0.1),
    ),
    phases=(Phase(1, 1e-3),),
)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a data set of five pictures, one of them missing, and two pictures without people."""
    folder = tmp_path / "data"
    _, images = coco_files.write(folder, coco_files.content(5))
    (images / "002.jpg").unlink()
    (folder / "background").mkdir()
    for number in range(2):
        (folder / "background" / f"{number}.jpg").write_bytes(coco_files.jpeg(number))
    return folder


def single(data: Path, out: Path, *options: object) -> list[str]:
    """Arguments that write the people of `data`."""
    paths = ["--annotations", data / "people.json", "--images", data / "images", "--out", out]
    return ["train", "records", *map(str, [*paths, *options])]


@pytest.mark.slow
def test_the_smoke_recipe_brings_its_own_pictures(tmp_path: Path) -> None:
    places = ["--data", str(tmp_path / "data"), "--records", str(tmp_path / "records"), "--workers", "1"]
    assert main(["train", "records", "--recipe", "smoke", *places]) == 0
    assert read_manifest(str(tmp_path / "records" / "smoke")).pictures == 24


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    lines = capsys.readouterr().err.strip().splitlines()
    return lines[-1]


def stamps(folder: Path) -> dict[str, int]:
    """The shards in a folder and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.tfrecord")}


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_recipes_sources_are_written_and_verified(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.py"
    recipe.write_text(RECIPE)
    records = tmp_path / "records"
    places = ["--recipe", str(recipe), "--data", str(data), "--records", str(records)]
    assert main(["train", "records", *places]) == 0
    printed = capsys.readouterr().out
    assert f"{records}/people: 1 shards" in printed
    assert "4 of 5 pictures" in printed
    assert "1 x picture missing (picture left out); first: 002.jpg" in printed
    assert read_manifest(f"{records}/people").people == 4
    nobody = read_manifest(f"{records}/nobody")
    assert (nobody.pictures, nobody.people, nobody.report.annotations) == (2, 0, "")
    assert main(["train", "records", *places, "--verify"]) == 0
    assert "people: 1 shards, 4 pictures: as the manifest says" in capsys.readouterr().out
    assert main(["train", "records", *places[:2], "--data", "gs://bucket"]) == 2
    assert last_line(capsys) == "error: gs://bucket: pictures and annotations are read from a local folder only"
    (records / "nobody" / nobody.shards[0].name).write_bytes(b"damage")
    assert main(["train", "records", *places, "--verify"]) == 2
    assert nobody.shards[0].name in last_line(capsys)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("people.json", "people.json: no such file; --data names the folder that data sets are in"),
        ("images", "images: no such folder; --data names the folder that data sets are in"),
    ],
)
def test_missing_inputs_are_told_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str, message: str
) -> None:
    path = data / spoil
    _ = shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(single(data, tmp_path / "records")) == 2
    assert last_line(capsys) == f"error: {data}/{message}"
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--annotations", "a.json"], "--images"),
        (["--images", "pictures"], "--out"),
        (["--images", ".", "--out", "out", "--skeleton", "octopus"], "unknown skeleton 'octopus'"),
        (["--recipe", "nonesuch"], "unknown recipe 'nonesuch'"),
        (["--set", "sourcs=1"], "no field 'sourcs'"),
        (["--shard-size", "0"], "shard-size"),
    ],
)
def test_impossible_options_are_told(
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "records", *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_bucket_is_told_before_anything_is_read(
    data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (data / "people.json").write_text("not read")
    assert main(single(data, Path("unused"))[:-1] + ["nonesuch://bucket/records"]) == 2
    error = last_line(capsys)
    assert error.startswith("error: nonesuch://bucket/records: ")


@pytest.mark.slow
def test_a_killed_call_is_finished_by_the_next_as_if_nothing_had_happened(tmp_path: Path) -> None:
    coco_files.write(tmp_path / "data", coco_files.content(600))
    arguments = single(tmp_path / "data", tmp_path / "records", "--shard-size", 3)
    command = [sys.executable, "-m", "shared.cli", *arguments, "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(stamps(tmp_path / "records")) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "records" / MANIFEST).exists()
    _wait_until_quiet(tmp_path / "records")
    before = stamps(tmp_path / "records")
    assert 4 <= len(before) < 200
    assert main([*arguments, "--workers", "1"]) == 0
    after = stamps(tmp_path / "records")
    assert any(after[name] == before[name] for name in before), "no shard was kept"
    assert main([*single(tmp_path / "data", tmp_path / "fresh", "--shard-size", 3), "--workers", "1"]) == 0
    assert shards(tmp_path / "records") == shards(tmp_path / "fresh")


def _wait_until_quiet(folder: Path) -> None:
    """Workers of a killed call end with it: soon nothing is written any more."""
    deadline = time.monotonic() + 30
    before: dict[str, int] = {}
    while before != (now := stamps(folder)):
        assert time.monotonic() < deadline, "workers outlive their parent"
        before = now
        time.sleep(1)
