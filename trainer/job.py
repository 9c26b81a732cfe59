"""The whole training job: records, fit, evaluate, export, report, each resumable and idempotent."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from shared.errors import YaopError
from trainer import storage
from trainer.recipe import Recipe

if TYPE_CHECKING:
    from shared.bundle import Bundle

RESOLUTIONS = (256, 384, 512)


class JobError(YaopError):
    """The job cannot be done as it was asked for."""


class Places(NamedTuple):
    """Where a job reads and writes: `data` is a local folder, the others may be ``gs://`` addresses."""

    data: str
    records: str
    run: str


def run_job(
    recipe: Recipe,
    places: Places,
    *,
    distribution: str = "cpu",
    devices: int = 0,
    movenet: str | None = None,
    export: bool = True,
    command: str = "",
) -> Bundle | None:
    """From pictures to a bundle; a job that was cut off goes on where it stopped when called again.

    Args:
        recipe: the resolved one.
        places: see there.
        distribution, devices, movenet: as `trainer.fit.fit` takes them.
        export: write ``RUN/bundle``, and measure that; otherwise the AP of the last evaluation while training stands.
        command: that started the job, for the report and the model card.

    Returns:
        the bundle, if there is one.

    Raises:
        YaopError: whatever a step refuses, in one line.
    """
    from trainer.distribution import check_places, check_recipe, open_distribution
    from trainer.fit import fit
    from trainer.initial import check_initial

    begin = time.monotonic()
    if distribution == "multiworker":
        raise JobError("several workers train with `yaop train fit`; do the other steps once, each on one machine")
    check_places(distribution, places.records, places.run)
    check_initial(recipe.initial, recipe.network, movenet)
    check_recipe(recipe, open_distribution(distribution, devices))  # before anything else uses TensorFlow
    prepare_data(recipe, Path(places.data))
    _write_records(recipe, places)
    data = places.data if recipe.evaluation else None
    fit(
        recipe, records=places.records, data=data, run=places.run, distribution=distribution, devices=devices,
        movenet=movenet,
    )  # fmt: skip
    bundle = _export(recipe, places, command) if export and not storage.is_remote(places.run) else None
    if bundle is not None and recipe.evaluation is not None:
        bundle = _evaluate(recipe, places, bundle)
    _report(places.run, command, time.monotonic() - begin)
    return bundle


def prepare_data(recipe: Recipe, data: Path) -> None:
    """Make the data set that YAOP can make itself, and see that the others are there.

    Raises:
        JobError: annotations or pictures that the recipe names are missing.
    """
    make_own_data(recipe, data)
    missing = [str(data / path) for path in _paths(recipe) if not (data / path).exists()]
    if missing:
        hint = "run `yaop train download`, give --coco DIR, or name another folder with --data"
        raise JobError(f"{missing[0]}: there is no such data; {hint}")


def make_own_data(recipe: Recipe, data: Path) -> None:
    """Make the data set that YAOP can make itself, if the recipe names it."""
    from trainer.data.smoke import FOLDER, make_smoke_data

    if any(path.startswith(f"{FOLDER}/") for path in _paths(recipe)):
        make_smoke_data(data)


def _paths(recipe: Recipe) -> list[str]:
    """Files and folders below the data folder that a recipe names."""
    needed = [(source.annotations, source.images) for source in recipe.sources]
    if recipe.evaluation:
        needed.append((recipe.evaluation.annotations, recipe.evaluation.images))
    return [path for pair in needed for path in pair if path]


def _write_records(recipe: Recipe, places: Places) -> None:
    from trainer.commands.records import data_sets, write_sets

    write_sets(data_sets(recipe.sources, places.data, places.records), recipe.skeleton)


def _export(recipe: Recipe, places: Places, command: str) -> Bundle:
    """Export the run's best weights, unless the bundle is there and is theirs."""
    from trainer.export import LONG_SIDES, ExportOptions
    from trainer.export_run import BUNDLE_FOLDER, Naming, export_run, weights_of
    from trainer.weights import digest_of

    source = weights_of(places.run)
    marker, destination = storage.join(places.run, "exported.json"), Path(places.run) / BUNDLE_FOLDER
    state = json.dumps({"weights": digest_of(source), "export": recipe.export})
    if destination.exists() and storage.exists(marker) and storage.read_bytes(marker).decode() == state:
        from shared.bundle import load_bundle

        return load_bundle(destination)
    typer.echo(f"exporting {source}")
    bundle = export_run(
        places.run,
        naming=Naming(command=command),
        long_sides=recipe.export or LONG_SIDES,
        options=ExportOptions(replace=True, progress=lambda done, total: typer.echo(f"converted {done} of {total}")),
    )
    storage.write_bytes(marker, state.encode())
    return bundle


def _evaluate(recipe: Recipe, places: Places, bundle: Bundle) -> Bundle:
    """Measure the bundle at the usual resolutions, and write that into it and beside it."""
    from shared.bundle import load_bundle
    from shared.inference.engine import load_engine
    from shared.inference.estimator import PoseEstimator
    from trainer.evaluation import evaluate, record_accuracy
    from trainer.evaluation.report import write_report

    held_out = recipe.evaluation
    assert held_out is not None
    annotations, images = Path(places.data) / held_out.annotations, Path(places.data) / held_out.images
    estimator = PoseEstimator(load_engine(bundle), bundle.skeleton)
    sides = [side for side in RESOLUTIONS if not recipe.export or side in recipe.export] or list(recipe.export)
    results = [evaluate(estimator, annotations, images, resolution=side, skeleton=bundle.skeleton) for side in sides]
    for result in results:
        typer.echo(f"AP {result.accuracy.ap:.3f} at {result.accuracy.resolution} on {result.accuracy.images} pictures")
    record_accuracy(bundle, [result.accuracy for result in results], held_out.annotations)
    title = f"{bundle.manifest.name} on {held_out.annotations}"
    write_report(Path(places.run) / "evaluation", title, results, bundle.skeleton)
    return load_bundle(bundle.path)


def _report(run: str, command: str, seconds: float) -> None:
    from trainer.progress import describe_duration
    from trainer.report import write_report

    write_report(run, {"command": command, "duration": describe_duration(seconds)})
