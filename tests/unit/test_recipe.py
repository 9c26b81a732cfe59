"""Recipes: found by name or file, overridden field by field, and refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.skeleton import get_skeleton
from trainer.models.registry import get_network
from trainer.recipe import Recipe, RecipeError, known_recipes, load_recipe, with_overrides


@pytest.mark.parametrize("name", known_recipes())
def test_every_recipe_names_a_network_a_skeleton_and_sides_that_fit(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.pipeline.side % get_network(recipe.network).stride == 0
    assert get_skeleton(recipe.skeleton).num_keypoints
    assert len({source.name for source in recipe.sources}) == len(recipe.sources)


@pytest.mark.parametrize("name", known_recipes())
def test_a_recipe_survives_being_saved(name: str) -> None:
    recipe = load_recipe(name)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_fields_are_overridden_at_any_depth() -> None:
    changed = with_overrides(
        load_recipe("mobilenet_fpn"),
        ["seed=7", "pipeline.batch=32", "phases.1.steps=5", "sources.0.augment.rotation=10", "evaluation=null",
         "precision=mixed_bfloat16", "network_options.width=16"],
    )  # fmt: skip
    assert (changed.seed, changed.pipeline.batch, changed.phases[1].steps) == (7, 32, 5)
    assert changed.sources[0].augment.rotation == 10
    assert changed.evaluation is None
    assert changed.precision == "mixed_bfloat16"
    assert changed.network_options == {"width": 16}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch=3", "no field 'batch'; there are: network, "),
        ("pipeline.size=3", "no field 'size'; there are: side, "),
        ("phases.9.steps=3", "no field '9'; there are: 0 to 1"),
        ("pipeline.batch=many", "recipe field pipeline.batch: "),
        ("precision=float8", "recipe field precision: "),
        ("pipeline.batch", "expected FIELD=VALUE"),
    ],
)
def test_a_wrong_override_is_refused_with_what_there_is(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        with_overrides(load_recipe("mobilenet_fpn"), [override])


def test_a_saved_recipe_with_an_unknown_field_is_refused() -> None:
    values = load_recipe("smoke").to_json()
    with pytest.raises(RecipeError, match="colour"):
        Recipe.from_json(values | {"colour": "red"})


def test_an_unknown_recipe_is_refused_with_the_known_names() -> None:
    with pytest.raises(RecipeError, match="mobilenet_fpn, mobilenet_fpn_subset, openpose_vgg19, smoke"):
        load_recipe("resnet")


def test_a_recipe_is_read_from_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import dataclasses\nfrom trainer.recipes.smoke import RECIPE as SMOKE\n"
        "RECIPE = dataclasses.replace(SMOKE, seed=3)\n"
    )
    assert load_recipe(str(file)).seed == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [("X = 1", "defines no RECIPE"), ("RECIPE = 1", "RECIPE is a int"), ("import nothing_of_that_name", "nothing_of_")],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(RecipeError, match=message) as refused:
        load_recipe(str(file))
    assert "mine.py" in str(refused.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.py"):
        load_recipe(str(tmp_path / "absent.py"))
