"""`yaop pose` over the fake engine: inputs, layouts, outputs, bad files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer
from typer.testing import CliRunner, Result

from service.cli import pose
from shared.errors import YaopError
from tests.fake_engine import DiscEngine, discs, fake_model, person_at
from tests.photos import encode


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> DiscEngine:
    fake = DiscEngine()

    @contextmanager
    def open_fake(*_: object) -> Iterator[Any]:
        yield fake_model(fake).bundle, fake

    monkeypatch.setattr("service.local.run.open_model", open_fake)
    return fake


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write(tmp_path / "photo.jpg", 300, 200)


def write(path: Path, x: float, y: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(discs(640, 480, person_at(x, y)), "png" if path.suffix == ".png" else "jpeg"))
    return path


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(pose)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def neck(frame: dict[str, Any]) -> tuple[float, float]:
    point = frame["people"][0]["keypoints"]["neck"]
    return point["x"], point["y"]


def test_one_picture_gives_one_frame_on_the_standard_output(photo: Path) -> None:
    result = run(photo)
    assert result.exit_code == 0
    frame = json.loads(result.stdout)
    assert neck(frame) == pytest.approx((300, 200), abs=1.5)
    assert (frame["width"], frame["height"], frame["model"]["name"]) == (640, 480, "discs")
    assert "file" not in frame


def test_several_pictures_give_a_line_each_with_the_file_it_is_of(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.png", 200 + 20 * i, 150) for i in range(3)]
    lines = [json.loads(line) for line in run(*paths).stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in paths]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert [round(neck(line)[0]) for line in lines] == [200, 220, 240]


def test_a_folder_stands_for_the_pictures_below_it(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPG", "deep/c.png"):
        write(tmp_path / "in" / name, 300, 200)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    lines = run(tmp_path / "in").stdout.splitlines()
    assert [Path(json.loads(line)["file"]).name for line in lines] == ["a.JPG", "b.jpg", "c.png"]


def test_a_folder_of_one_picture_still_gives_lines(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.jpg", 300, 200)
    assert "file" in json.loads(run(tmp_path / "in").stdout)


def test_a_pattern_stands_for_what_it_matches(tmp_path: Path) -> None:
    for name in ("a1.jpg", "a2.jpg", "b.jpg"):
        write(tmp_path / name, 300, 200)
    lines = run(tmp_path / "a*.jpg").stdout.splitlines()
    assert [Path(json.loads(line)["file"]).name for line in lines] == ["a1.jpg", "a2.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    frame = json.loads(run(write(tmp_path / "a[1].jpg", 300, 200)).stdout)
    assert neck(frame) == pytest.approx((300, 200), abs=1.5)


@pytest.mark.parametrize("given", ["empty", "*.nothing"])
def test_what_matches_nothing_is_named(tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(YaopError, match=r"empty|nothing"):
        run(tmp_path / given)


def test_bad_files_are_reported_on_a_line_each_and_the_others_done(tmp_path: Path) -> None:
    good = write(tmp_path / "good.png", 300, 200)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:200])
    result = run(text, good, cut, tmp_path / "missing.jpg")
    assert result.exit_code == 2
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(good)]
    errors = result.stderr.splitlines()
    assert len(errors) == 3
    for error, path in zip(errors, (text, cut, tmp_path / "missing.jpg"), strict=True):
        assert error.startswith(f"error: {path}")


def test_coco_results_of_several_pictures_are_one_list(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, 300, 200) for name in ("a.jpg", "b.jpg")]
    results = json.loads(run(*paths, "--format", "coco").stdout)
    assert [result["image_id"] for result in results] == [0, 1]
    numbered = [write(tmp_path / name, 300, 200) for name in ("000000000139.jpg", "000000000785.jpg")]
    results = json.loads(run(*numbered, "--format", "coco").stdout)
    assert [result["image_id"] for result in results] == [139, 785]


def test_openpose_writes_a_file_for_each_of_several_pictures(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, 300, 200) for name in ("a.jpg", "b.png", "deep/a.jpg")]
    out = tmp_path / "out"
    assert run(*paths, "--format", "openpose", "--json", out).exit_code == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["a-2_keypoints.json", "a_keypoints.json", "b_keypoints.json"]
    assert len(json.loads((out / "b_keypoints.json").read_text())["people"][0]["pose_keypoints_2d"]) == 54


def test_openpose_of_several_pictures_cannot_go_to_the_standard_output(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, 300, 200) for name in ("a.jpg", "b.jpg")]
    with pytest.raises(YaopError, match="--json"):
        run(*paths, "--format", "openpose")


def test_openpose_of_one_picture_is_one_object(photo: Path) -> None:
    assert json.loads(run(photo, "--format", "openpose").stdout)["version"] == 1.3


def test_a_table_has_a_row_for_each_keypoint_that_was_seen(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    assert run(photo, "--format", "csv", "--json", target).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["keypoint"] for row in rows] == ["nose", "neck", "right_shoulder"]
    assert float(rows[1]["x"]) == pytest.approx(300, abs=1.5)
    assert {row["file"] for row in rows} == {str(photo)}


def test_an_overlay_of_one_picture_is_the_named_file(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "overlay.png"
    result = run(photo, "--out", target)
    assert (result.exit_code, result.stdout) == (0, "")
    overlay = cv2.imread(str(target))
    assert overlay is not None
    assert overlay.shape == (480, 640, 3)


def test_overlays_of_several_pictures_are_files_in_a_folder(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, 300, 200) for name in ("a.jpg", "b.png")]
    run(*paths, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_poses.jpg", "b_poses.png"]


def test_overlays_and_data_can_be_had_together(photo: Path, tmp_path: Path) -> None:
    result = run(photo, "--out", tmp_path / "o.jpg", "--json", "-")
    assert json.loads(result.stdout)["people"]
    assert (tmp_path / "o.jpg").is_file()


def test_an_overlay_of_another_type_is_refused(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(YaopError, match=r"o\.gif"):
        run(photo, "--out", tmp_path / "o.gif")


def test_options_are_passed_on(photo: Path, engine: DiscEngine) -> None:
    assert json.loads(run(photo, "--min-score", "0.5").stdout)["people"] == []
    assert json.loads(run(photo, "--roi", "0,0,100,100").stdout)["people"] == []
    run(photo, "--resolution", "fast")
    assert engine.calls[-1][1:] == (192, 256, 3)
    run(photo, "--flip")
    assert engine.calls[-1][0] == 2


@pytest.mark.parametrize(("option", "value"), [("--resolution", "huge"), ("--roi", "1,2")])
def test_wrong_options_are_named(photo: Path, option: str, value: str) -> None:
    with pytest.raises(YaopError, match=f"{option} {value}: must be"):
        run(photo, option, value)


def test_a_region_outside_a_picture_is_that_pictures_error(photo: Path) -> None:
    result = run(photo, "--roi", "9000,9000,5,5")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {photo}: ")
    assert "does not overlap" in result.stderr


def test_a_file_that_cannot_be_written_keeps_the_old_one(photo: Path, tmp_path: Path, engine: DiscEngine) -> None:
    target = tmp_path / "people.json"
    target.write_text("old")
    engine.failure = RuntimeError("out of memory")
    with pytest.raises(RuntimeError):
        run(photo, "--json", target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.json", "photo.jpg"]
