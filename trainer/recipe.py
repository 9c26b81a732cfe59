"""What a training run is made of. A recipe in `trainer/recipes/` is a Python file with one `RECIPE`."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from shared.errors import YaopError
from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.data.targets import TargetOptions
from trainer.losses import LossOptions


class RecipeError(YaopError):
    """A recipe that is not there or says something impossible; the message says what would be right."""


Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimiser and one choice of trainable layers.

    Attributes:
        steps: batches.
        learning_rate: peak for a global batch of the recipe's own size, reached after `warmup` steps, then a cosine
            to a hundredth of it.
        frozen: layers whose name begins with one of these don't learn.
        rates: name prefix -> factor on the learning rate (the first that fits; 1 elsewhere).
    """

    steps: int
    learning_rate: float
    warmup: int = 150
    frozen: tuple[str, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class DataSource:
    """A data set in COCO keypoint format, and how it is used.

    Attributes:
        name: of its folder of TFRecord shards.
        annotations, images: paths of the JSON file and of the picture folder, relative to the data folder.
        weight: how often it is drawn, relative to the other sources.
        only_labelled: the pictures may show people without any mark (see `trainer.data.coco.Record`).
        augment: how its samples are varied.
    """

    name: str
    annotations: str
    images: str
    weight: float = 1.0
    only_labelled: bool = False
    augment: AugmentOptions = AugmentOptions()


@dataclass(frozen=True)
class EvaluationData:
    """Held-out pictures that AP is measured on.

    Attributes:
        annotations, images: as in `DataSource`.
        resolution: long side of the network input while training; the final table has the three named ones.
        every: steps between evaluations during training; 0 for only the one at the end.
        limit: at most so many pictures (the first ones) during training; the final table takes all.
    """

    annotations: str
    images: str
    resolution: int = 384
    every: int = 1000
    limit: int = 100


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result, so that it can be saved with the run and repeated.

    Attributes:
        network, network_options: a name of `trainer.models.registry` and what its `build` takes.
        skeleton: a built-in one, or the path of a JSON file (see `shared.skeleton.load_skeleton`).
        sources: training data; `evaluation`: held-out data, if there is any.
        phases: one after the other.
        initial: weights to begin with: "shipped" for those of the bundle that comes with YAOP, a bundle's folder, a
            ``.weights.h5`` file, "movenet" (see `trainer.movenet`), or None for random ones.
        seed: of initial weights, order and augmentation.
        precision: Keras dtype policy; losses stay float32.
        average: momentum of the running average of the weights, which is what is evaluated and exported.
        checkpoint_every, log_every: in steps; `keep`: how many checkpoints are kept.
        pipeline: sizes of a batch; its `batch` is the global one, over all replicas.
        export: long sides of the network inputs in the bundle that `yaop train run` writes; empty for all usual ones.
    """

    network: str
    sources: tuple[DataSource, ...]
    phases: tuple[Phase, ...]
    evaluation: EvaluationData | None = None
    skeleton: str = "body_18"
    initial: str | None = None
    seed: int = 0
    precision: Precision = "float32"
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    average: float = 0.998
    checkpoint_every: int = 200
    log_every: int = 20
    keep: int = 3
    pipeline: PipelineOptions = PipelineOptions()
    targets: TargetOptions = TargetOptions()
    losses: LossOptions = LossOptions()
    export: tuple[int, ...] = ()
    network_options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @staticmethod
    def from_json(values: dict[str, Any]) -> Recipe:
        """The recipe that `to_json` made these values of.

        Raises:
            RecipeError: a field is unknown or has a value of the wrong kind.
        """
        try:
            recipe = TypeAdapter(Recipe).validate_python(values)
        except ValidationError as error:
            raise RecipeError("; ".join(_describe(problem) for problem in error.errors())) from error
        for field_name in _unknown(values, recipe.to_json()):
            raise RecipeError(f"recipe field {field_name}: there is no such field")
        return recipe


def known_recipes() -> list[str]:
    """Names of the recipes that come with the trainer."""
    import trainer.recipes

    return sorted(module.name for module in pkgutil.iter_modules(trainer.recipes.__path__))


def load_recipe(name: str) -> Recipe:
    """The recipe of this name from `trainer.recipes`, or of a Python file with a `RECIPE`.

    Raises:
        RecipeError: there is none, or the file cannot be run.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name not in known_recipes():
        raise RecipeError(f"unknown recipe {name!r}; known: {', '.join(known_recipes())}, or the path of a .py file")
    return importlib.import_module(f"trainer.recipes.{name}").RECIPE


def with_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with fields replaced, each given as ``field=value`` or ``part.field=value``.

    Parts of lists are numbered, as in ``phases.0.steps=100``. Values are JSON, or plain words.

    Raises:
        RecipeError: a field is unknown or has a value of the wrong kind.
    """
    values = recipe.to_json()
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise RecipeError(f"--set {override}: expected FIELD=VALUE, as in pipeline.batch=32")
        _set(values, path.strip(), _value(text), override)
    return Recipe.from_json(values)


def _from_file(path: Path) -> Recipe:
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        recipe = module.RECIPE
    except AttributeError as error:
        raise RecipeError(f"{path}: defines no RECIPE") from error
    except Exception as error:
        raise RecipeError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{path}: RECIPE is a {type(recipe).__name__}, not a trainer.recipe.Recipe")
    return recipe


def _set(values: Any, path: str, value: Any, override: str) -> None:
    *folders, last = path.split(".")
    for part in folders:
        values = _child(values, part, override)
    if folders != ["network_options"]:  # its fields are the network's own
        _child(values, last, override)
    values[int(last) if isinstance(values, list) else last] = value


def _child(values: Any, key: str, override: str) -> Any:
    if isinstance(values, list) and key.isdigit() and int(key) < len(values):
        return values[int(key)]
    if isinstance(values, dict) and key in values:
        return values[key]
    known = ", ".join(values) if isinstance(values, dict) else f"0 to {len(values) - 1}" if values else "none"
    raise RecipeError(f"--set {override}: no field {key!r}; there are: {known}")


def _unknown(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """Paths of fields that were given but that a recipe does not have."""
    if isinstance(given, dict) and isinstance(known, dict):
        yield from (f"{path}{name}" for name in given if name not in known)
        for name in given.keys() & known.keys():
            yield from _unknown(given[name], known[name], f"{path}{name}.")
    elif isinstance(given, list) and isinstance(known, list):
        for number, pair in enumerate(zip(given, known, strict=False)):
            yield from _unknown(*pair, f"{path}{number}.")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _describe(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    return f"recipe field {where}: {problem['msg']}"
