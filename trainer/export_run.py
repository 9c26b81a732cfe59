"""From a run's folder, or a weights file and its recipe, to the model and the manifest that are exported."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import keras

from shared.bundle import Bundle, LiteRTWeights, Manifest, Training, skeleton_fields
from shared.skeleton import Skeleton, load_skeleton
from trainer import storage
from trainer.decoding import DecodeOptions
from trainer.export import LONG_SIDES, ExportError, ExportOptions, export_bundle, listed_shapes
from trainer.models.registry import get_network
from trainer.recipe import Recipe, RecipeError

RECIPE_FILE = "recipe.json"
SKELETON_FILE = "skeleton.json"
BUNDLE_FOLDER = "bundle"
Which = Literal["auto", "best", "final"]


@dataclass(frozen=True)
class Naming:
    """What a bundle says about itself that its model does not decide.

    Attributes:
        name: of the model; None for the network's.
        version: None for the time of the export.
        licence: of the weights.
        command: what trains them again.
    """

    name: str | None = None
    version: str | None = None
    licence: str = "Apache-2.0"
    command: str = ""


def export_run(
    run: str,
    destination: Path | None = None,
    *,
    which: Which = "auto",
    naming: Naming = Naming(),
    long_sides: Sequence[int] = LONG_SIDES,
    weights: LiteRTWeights = "float16",
    options: ExportOptions | None = None,
) -> Bundle:
    """Export what a run has trained.

    Args:
        run: its folder, or a ``gs://`` address.
        destination: folder of the bundle; ``RUN/bundle`` if None.
        which: ``best`` is what had the best AP while training, ``final`` the average at the end, ``auto`` the best
            if there is one.
        naming: see there.
        long_sides: of the network inputs that get a graph in the LiteRT file.
        weights: how the LiteRT file stores them.
        options: see there.

    Raises:
        ExportError: the run has no weights yet, or what is exported is not equal to the model.
        RecipeError: its recipe is missing or cannot be used. BundleError: the bundle cannot be written.
    """
    if destination is None and storage.is_remote(run):
        raise ExportError(f"{run}: say where on this machine the bundle goes")
    recipe, skeleton = read_recipe(run)
    file = weights_of(run, which)
    named = naming if naming.command else dataclasses.replace(naming, command=f"yaop train fit --run {Path(run).name}")
    model = load_model(file, recipe, skeleton)
    manifest = make_manifest(recipe, skeleton, named, long_sides, weights)
    return export_bundle(
        model, manifest, destination or Path(run) / BUNDLE_FOLDER, with_recipe(options or ExportOptions(), recipe)
    )


def read_recipe(run: str) -> tuple[Recipe, Skeleton]:
    """The recipe that a run was trained by, and its skeleton: that of ``skeleton.json`` if the run has one.

    Raises:
        RecipeError: there is none, or it cannot be used. SkeletonError: the skeleton cannot be used.
    """
    place = storage.join(run, RECIPE_FILE)
    if not storage.exists(place):
        raise RecipeError(f"{run}: not the folder of a run: it has no {RECIPE_FILE}")
    recipe = Recipe.from_json(_json(place))
    own = storage.join(run, SKELETON_FILE)
    return recipe, Skeleton.from_json(_json(own)) if storage.exists(own) else load_skeleton(recipe.skeleton)


def load_model(file: str, recipe: Recipe, skeleton: Skeleton) -> keras.Model:
    """The recipe's network with the weights of a ``.weights.h5`` file.

    Raises:
        ExportError: they do not fit. StorageError: the file cannot be read.
    """
    # What `imagenet` would fetch is overwritten anyway.
    known = {name: value for name, value in recipe.network_options.items() if name != "imagenet"}
    model = get_network(recipe.network).build(skeleton, **known)
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "model.weights.h5"
        local.write_bytes(storage.read_bytes(file))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "Skipping nested container")  # it would leave layers untrained
                model.load_weights(local)
        except (OSError, ValueError, KeyError, UserWarning) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ExportError(f"{file}: these are no weights of {recipe.network}: {reason}") from error
    return model


def make_manifest(
    recipe: Recipe, skeleton: Skeleton, naming: Naming, long_sides: Sequence[int], weights: LiteRTWeights
) -> Manifest:
    """What the bundle of a recipe's network says about itself."""
    now = datetime.now(UTC)
    return Manifest(
        name=naming.name or recipe.network,
        version=naming.version or f"{now:%Y%m%d.%H%M%S}",
        **skeleton_fields(skeleton),
        stride=get_network(recipe.network).stride,
        shapes=listed_shapes(long_sides),
        max_peaks=DecodeOptions().max_peaks,
        licence=naming.licence,
        created=now.isoformat(timespec="seconds"),
        architecture=recipe.network,
        training=_training(recipe, naming.command) if naming.command else None,
        litert_weights=weights,
    )


def with_recipe(options: ExportOptions, recipe: Recipe) -> ExportOptions:
    """The options, with the recipe among the bundle's files."""
    text = json.dumps(recipe.to_json(), indent=2) + "\n"
    return dataclasses.replace(options, extra_files={**options.extra_files, RECIPE_FILE: text})


def _training(recipe: Recipe, command: str) -> Training:
    total = sum(source.weight for source in recipe.sources)
    shares = (
        f"{source.name} ({source.annotations or 'nobody in it'}), {source.weight / total:.0%}"
        for source in recipe.sources
    )
    steps = sum(phase.steps for phase in recipe.phases)
    return Training(data=tuple(shares), initial=recipe.initial or "random weights", steps=steps, command=command)


def weights_of(run: str, which: Which = "auto") -> str:
    """Address of the weights of a run that `export_run` takes.

    Raises:
        ExportError: it has none yet.
    """
    names = ["best", "final"] if which == "auto" else [which]
    for name in names:
        if storage.exists(file := storage.join(run, f"{name}.weights.h5")):
            return file
    raise ExportError(f"{run}: has no {' or '.join(f'{name}.weights.h5' for name in names)}; is the training done?")


def _json(place: str) -> Any:
    try:
        return json.loads(storage.read_bytes(place))
    except ValueError as error:
        raise RecipeError(f"{place}: {error}") from error
