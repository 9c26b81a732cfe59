"""`yaop train preview`: pictures of what a run would see."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from shared.errors import YaopError
from tests import photos
from tests.records_fixture import make_record, write_folder
from trainer.cli import app
from trainer.preview import write_previews
from trainer.recipe import Recipe, load_recipe

RECIPE_FILE = """
from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.recipe import DataSource, Recipe

RECIPE = Recipe(
    network="mobilenet_fpn",
    sources=(DataSource("people", "people.json", "images", augment=AugmentOptions(long_side=(64, 96))),),
    phases=(),
    pipeline=PipelineOptions(side=64, batch=4, max_people=2, threads=1),
)
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(RECIPE_FILE)
    return str(path)


@pytest.fixture
def recipe(recipe_file: str) -> Recipe:
    return load_recipe(recipe_file)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("records")
    ignored = np.array([[0, 0, 200, 512]], np.float32)
    record = make_record(folder / "a.jpg", photos.astronaut(), [[120, 10, 260, 480]], ignored=ignored)
    write_folder(folder / "people", [record])
    return str(folder)


def test_each_sample_becomes_a_picture_of_its_input_labels_and_fields(
    recipe: Recipe, records: str, tmp_path: Path
) -> None:
    paths = write_previews(recipe, records, str(tmp_path / "out"), count=2)
    assert [Path(path).name for path in paths] == ["0000.png", "0001.png"]
    first, second = (cv2.imread(path) for path in paths)
    assert first.shape[1] >= 4 * 64
    assert first.shape[0] >= 64
    assert not np.array_equal(first, second)
    tiles = [first[-64:, left : left + 64].astype(int) for left in (0, 68, 136, 204)]
    assert all(np.abs(tiles[0] - tile).mean() > 1 for tile in tiles[1:]), "each shows something else"


def test_another_seed_shows_other_samples(recipe: Recipe, records: str, tmp_path: Path) -> None:
    seeds = {"a": 1, "b": 1, "c": 2}
    content = {
        name: Path(write_previews(recipe, records, str(tmp_path / name), count=1, seed=seed)[0]).read_bytes()
        for name, seed in seeds.items()
    }
    assert content["a"] == content["b"] != content["c"]


def test_the_command_writes_pictures_of_any_recipe(records: str, recipe_file: str, tmp_path: Path) -> None:
    command = ["preview", "--recipe", recipe_file, "--records", records, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*command, "--count", "1", "--set", "pipeline.side=32"])
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0000.png"]
    assert "wrote 1 picture" in done.output


def test_the_command_tells_in_one_line_what_is_missing(recipe_file: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["preview", "--recipe", recipe_file, "--records", str(tmp_path / "none")])
    assert isinstance(done.exception, YaopError)
    assert "\n" not in str(done.exception)
    assert str(tmp_path / "none") in str(done.exception)
