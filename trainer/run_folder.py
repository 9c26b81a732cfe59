"""The folder of a run: what lies where, and whether a recipe may go on in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from shared.skeleton import load_skeleton
from trainer import storage
from trainer.recipe import Recipe, RecipeError

# Fields that may change between two stretches of one run, because what is learnt does not depend on them.
_FREE = ("initial", "evaluation", "export", "checkpoint_every", "log_every", "keep", "export", "pipeline.threads")


@dataclass(frozen=True)
class RunFolder:
    """Addresses in the folder of a run, local or ``gs://``."""

    address: str

    @property
    def recipe(self) -> str:
        """The resolved recipe, as JSON."""
        return storage.join(self.address, "recipe.json")

    @property
    def skeleton(self) -> str:
        """Its skeleton's definition, as JSON."""
        return storage.join(self.address, "skeleton.json")

    @property
    def history(self) -> str:
        """See `trainer.events`."""
        return storage.join(self.address, "history.jsonl")

    @property
    def checkpoints(self) -> str:
        """Folder of `trainer.checkpoints`."""
        return storage.join(self.address, "checkpoints")

    @property
    def tensorboard(self) -> str:
        """Folder of event files."""
        return storage.join(self.address, "tensorboard")

    @property
    def final(self) -> str:
        """Averaged weights at the end."""
        return storage.join(self.address, "final.weights.h5")

    @property
    def best(self) -> str:
        """Averaged weights of the evaluation with the highest AP."""
        return storage.join(self.address, "best.weights.h5")


def digest(recipe: Recipe) -> str:
    """The same for recipes that learn the same."""
    return hashlib.sha256(json.dumps(_what_matters(recipe.to_json()), sort_keys=True).encode()).hexdigest()


def check_same(recipe: Recipe, folder: RunFolder, begun: str) -> None:
    """Refuse to go on with a run under another recipe.

    Args:
        begun: `digest` of the recipe that the run was begun with, from its checkpoint.

    Raises:
        RecipeError: the recipes differ in something that matters; it says in what.
    """
    if digest(recipe) == begun:
        return
    raise RecipeError(
        f"{folder.address}: was begun with another recipe ({_difference(recipe, folder)});"
        " go on with its own, or choose another --run"
    )


def _difference(recipe: Recipe, folder: RunFolder) -> str:
    try:
        saved = _what_matters(json.loads(storage.read_bytes(folder.recipe)))
    except (ValueError, storage.StorageError):
        return "its recipe.json is not readable"
    now = _what_matters(recipe.to_json())
    names = [name for name in sorted({*saved, *now}) if saved.get(name, _ABSENT) != now.get(name, _ABSENT)]
    found = [f"{name} {saved.get(name, _ABSENT)}, not {now.get(name, _ABSENT)}" for name in names[:3]]
    return "; ".join(found + [f"{len(names) - 3} more"] * (len(names) > 3)) or "its recipe.json was changed since"


def save_recipe(recipe: Recipe, folder: RunFolder) -> None:
    """Write the resolved recipe, and its skeleton beside it, so that a run needs no file of the user's.

    Raises:
        StorageError: it cannot be written.
    """
    for address, values in (
        (folder.recipe, recipe.to_json()),
        (folder.skeleton, load_skeleton(recipe.skeleton).to_json()),
    ):
        storage.write_bytes(address, (json.dumps(values, indent=2) + "\n").encode())


_ABSENT = "nothing"


def _what_matters(values: dict[str, Any]) -> dict[str, Any]:
    flat = _flat(values, "")
    return {name: value for name, value in flat.items() if not any((name + ".").startswith(f"{f}.") for f in _FREE)}


def _flat(values: Any, prefix: str) -> dict[str, Any]:
    if isinstance(values, dict):
        items: list[tuple[Any, Any]] = list(values.items())
    elif isinstance(values, list):
        items = list(enumerate(values))
    else:
        return {prefix: values}
    return {
        name: value
        for key, child in items
        for name, value in _flat(child, f"{prefix}.{key}" if prefix else str(key)).items()
    }
