"""Looks at everything a training needs before a night is spent on it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import YaopError
from trainer import machine, storage
from trainer.data.meter import readable
from trainer.diagnosis import Check, Status, fail, ok, warn

if TYPE_CHECKING:
    from trainer.recipe import Recipe

_LITTLE_DISK = 2_000_000_000  # bytes; a run of the default recipe with its checkpoints takes some hundred megabytes
_PATIENCE = 30.0  # seconds; TensorFlow itself asks an unreachable bucket for minutes
_WHO_WRITES = {"data": Status.WARN, "records": Status.WARN, "runs": Status.FAIL, "bundles": Status.FAIL}


@dataclass(frozen=True)
class Places:
    """Where data sets, records, runs and bundles are: folders, or ``gs://`` addresses.

    Attributes:
        bundles: None if bundles stay with their runs.
    """

    data: str
    records: str
    runs: str
    bundles: str | None = None


def examine(recipe: str, places: Places) -> list[Check]:
    """Look at this machine, these places and the data of this recipe. Writes nothing that stays."""
    checks = [machine.check_python(), *machine.check_packages(), machine.check_tensorboard()]
    backend = machine.check_backend()
    checks += [backend, machine.check_processors(), machine.check_memory()]
    # Without Keras a recipe cannot even be read.
    checks += [] if backend.status is Status.FAIL else _examine_recipe(recipe, places)
    remote = storage.is_remote(places.records) and storage.is_remote(places.runs)
    checks += [machine.check_cluster(os.environ), machine.check_tpu(os.environ, remote)]
    return checks + check_places(places)


def check_places(places: Places) -> list[Check]:
    """Whether each place is there or can be made, can be written to, and has room."""
    checks = [
        check_place(role, location)
        for role, location in (("data", places.data), ("records", places.records), ("runs", places.runs))
    ]
    if places.bundles is None:
        return [*checks, ok("bundles", "no folder is set: bundles stay with their runs", "set YAOP_MODELS_DIR")]
    return [*checks, check_place("bundles", places.bundles)]


def check_place(role: str, location: str, seconds: float = _PATIENCE) -> Check:
    """Whether a folder or bucket can be used. One that training only reads (data, records) need not be writable.

    Args:
        role: data, records, runs or bundles.
        seconds: how long to wait for a bucket.
    """
    if storage.is_remote(location):
        return _within(seconds, role, location, lambda: _check_bucket(role, location))
    return _check_folder(role, Path(location))


def check_data(recipe: Recipe, places: Places) -> list[Check]:
    """Whether each source of a recipe is there, as records or as a data set, and so the pictures for evaluation."""
    checks = [
        _check_source(source.name, source.annotations, source.images, places, storage.join(places.records, source.name))
        for source in recipe.sources
    ]
    held_out = recipe.evaluation
    if held_out is None:
        return checks
    return [*checks, _check_source("evaluation", held_out.annotations, held_out.images, places, None)]


def _examine_recipe(name: str, places: Places) -> list[Check]:
    from trainer.recipe import load_recipe

    try:
        accelerators = machine.find_accelerators()
    except Exception as error:  # noqa: BLE001 - a broken driver fails in any way it likes
        return [fail("accelerators", f"{type(error).__name__}: {error}", "the driver, or the installed packages")]
    found = machine.check_accelerators(accelerators, machine.has_nvidia())
    try:
        recipe = load_recipe(name)
    except YaopError as error:
        return [found, fail("recipe", str(error))]
    return [found, machine.check_precision(accelerators, recipe.precision), *check_data(recipe, places)]


def _check_folder(role: str, folder: Path) -> Check:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    state = "is there" if existing == folder else "will be made"
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        problem = f"{folder}: cannot be written to: {error.strerror or error}"
        return Check(role, _WHO_WRITES[role], problem, f"change its owner, or choose another --{role}")
    detail = f"{folder}: {state}, {readable(free)} free"
    return ok(role, detail) if free >= _LITTLE_DISK else warn(role, detail, "little room: free some")


def _check_bucket(role: str, location: str) -> Check:
    probe = storage.join(location, ".probe")
    try:
        storage.exists(location)
        storage.write_bytes(probe, b"")
        storage.remove(probe)
    except YaopError as error:
        return Check(role, _WHO_WRITES[role], str(error), "the address, the machine's rights, or yaop[gcs]")
    return ok(role, f"{location}: can be written to")


def _check_source(name: str, annotations: str, images: str, places: Places, records: str | None) -> Check:
    label = f"data: {name}"
    if records is not None and (count := _pictures_in(records)) is not None:
        return ok(label, f"{records}: records of {count} pictures")
    absent = [part for part in (annotations, images) if not _is_there(storage.join(places.data, part))]
    if not absent:
        return ok(label, f"{storage.join(places.data, annotations)}")
    return _absent(label, f"{', '.join(absent)} not in {places.data}", annotations)


def _absent(label: str, detail: str, annotations: str) -> Check:
    from trainer.data.smoke import FOLDER as SMOKE_FOLDER

    if annotations.startswith(f"{SMOKE_FOLDER}/"):
        return ok(label, "will be made from the photographs that come with installed packages")
    first_folder = annotations.partition("/")[0]
    hint = "`yaop train download` fetches it" if first_folder == "coco" else "put it there, or choose another --data"
    return fail(label, detail, hint)


def _pictures_in(records: str) -> int | None:
    from trainer.data.records import read_manifest

    try:
        return read_manifest(records).pictures
    except YaopError:
        return None


def _is_there(location: str) -> bool:
    try:
        return storage.exists(location)
    except YaopError:
        return False


def _within(seconds: float, role: str, location: str, work: Callable[[], Check]) -> Check:
    """What `work` finds, or that it found nothing in time; then its thread ends with the process."""
    found: list[Check] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    hint = "is the network there, and the address right?"
    return found[0] if found else fail(role, f"{location}: no answer within {seconds:g} s", hint)
