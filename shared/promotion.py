"""Putting a bundle where a service finds it, with the way back.

The version before lies beside it in the folder ``.NAME.previous``, which no service takes for a bundle.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.bundle import MANIFEST_FILE, Bundle, BundleError, is_bundle_name, load_bundle, write_bundle
from shared.files import exchange


def promote(source: Path, models_dir: Path, name: str | None = None) -> Bundle:
    """Copy a bundle to ``models_dir/NAME``; it appears there whole and verified, or not at all.

    Args:
        source: the bundle's folder.
        models_dir: made if it does not exist.
        name: what to serve it by; the bundle's own name if None.

    Raises:
        BundleError: the bundle is damaged, the name cannot be one, or the folder cannot be written.
    """
    bundle = load_bundle(source)
    chosen = name or bundle.manifest.name
    if not is_bundle_name(chosen):
        raise BundleError(f"{chosen!r} cannot be a model's name: letters, digits, '_', '.' and '-', up to 64")
    destination, staging = models_dir / chosen, models_dir / f".{chosen}.new"
    if destination.resolve() == source.resolve():
        raise BundleError(f"{source}: is there already")
    copied = write_bundle(staging, bundle.manifest.model_copy(update={"name": chosen}), source, replace=True)
    try:
        if copied.manifest.files != bundle.manifest.files:
            raise BundleError(f"{source}: changed while it was copied")
        _put(staging, destination)
    except OSError as error:
        raise BundleError(f"{error.filename or destination}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_bundle(destination)


def roll_back(models_dir: Path, name: str) -> Bundle:
    """Let a bundle and the version before change places.

    Raises:
        BundleError: there is no version before, or it is damaged.
    """
    destination = models_dir / name
    if not is_bundle_name(name) or previous_of(destination) is None:
        raise BundleError(f"{destination}: there is no version before this one to go back to")
    previous = _previous(destination)
    load_bundle(previous)
    try:
        if destination.exists():
            exchange(previous, destination)
        else:
            previous.rename(destination)
    except OSError as error:
        raise BundleError(f"{error.filename or destination}: {error.strerror or error}") from error
    return load_bundle(destination)


def previous_of(path: Path) -> Bundle | None:
    """The version before of the bundle in the folder `path`, if there is one."""
    previous = _previous(path)
    return load_bundle(previous, verify=False) if (previous / MANIFEST_FILE).is_file() else None


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _put(staging: Path, destination: Path) -> None:
    """Put `staging` in the place of `destination`, and what was there in the place of the version before."""
    if not destination.exists():
        staging.rename(destination)
        return
    exchange(staging, destination)
    shutil.rmtree(_previous(destination), ignore_errors=True)
    staging.rename(_previous(destination))
