"""Checkpoints: one file each that is either whole or recognised as broken, in a folder or a bucket.

A file is a line ``YAOP checkpoint 1 <sha256 of the rest>`` followed by a NumPy archive of all values; the entry
``progress`` in it is JSON.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import YaopError
from trainer import storage

_MAGIC = b"YAOP checkpoint 1 "
_PROGRESS = "progress"
_HEADER = len(_MAGIC) + 64 + 1


class CheckpointError(YaopError):
    """A checkpoint that is damaged; the message begins with its address."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: steps done, over all phases; it is also the number of batches that were drawn from the data.
        phase, phase_step: phase that the last step belongs to, and steps done in it.
        history: events in the run's history.
        pending: heatmap and PAF loss of steps that the history does not have yet.
        best: highest AP so far, and None before the first evaluation.
        recipe: digest of the recipe.
    """

    step: int
    phase: int
    phase_step: int
    history: int = 0
    pending: tuple[tuple[float, float], ...] = ()
    best: float | None = None
    recipe: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run goes on from: its progress, and all values of its step (`trainer.steps.state`)."""

    progress: Progress
    values: dict[str, NDArray[Any]]


def encode(checkpoint: Checkpoint) -> bytes:
    """The content of a checkpoint's file."""
    stream = io.BytesIO()
    progress = np.frombuffer(json.dumps(dataclasses.asdict(checkpoint.progress)).encode(), np.uint8)
    np.savez(stream, allow_pickle=False, **{_PROGRESS: progress}, **checkpoint.values)
    content = stream.getvalue()
    return _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def decode(content: bytes, name: str) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        CheckpointError: it is not what was written; `name` says which file that is.
    """
    if not content.startswith(_MAGIC) or len(content) < _HEADER:
        raise CheckpointError(f"{name}: not a checkpoint of this version")
    digest, rest = content[len(_MAGIC) : _HEADER - 1].decode("ascii", "replace"), content[_HEADER:]
    if hashlib.sha256(rest).hexdigest() != digest:
        raise CheckpointError(f"{name}: damaged (its checksum differs)")
    with np.load(io.BytesIO(rest), allow_pickle=False) as archive:
        values = {key: archive[key] for key in archive.files}
    progress = json.loads(values.pop(_PROGRESS).tobytes())
    progress["pending"] = tuple((heatmap, paf) for heatmap, paf in progress["pending"])
    return Checkpoint(Progress(**progress), values)


def save(folder: str, checkpoint: Checkpoint, keep: int) -> str:
    """Write a checkpoint, then delete all but the newest `keep` and what a killed process left half-written.

    Returns:
        its address.

    Raises:
        StorageError: it cannot be written, for instance because the disk is full; the others are untouched.
    """
    address = storage.join(folder, f"step-{checkpoint.progress.step:08d}.ckpt")
    storage.write_bytes(address, encode(checkpoint))
    left_behind = [name for name in storage.list_folder(folder) if name.startswith(".step-")]  # by a killed process
    for name in [*_names(folder)[:-keep], *left_behind]:
        storage.remove(storage.join(folder, name))
    return address


def load_newest(folder: str, tell: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None if there is none.

    Args:
        tell: is given a line about each damaged one that was passed over.
    """
    for name in reversed(_names(folder)):
        address = storage.join(folder, name)
        try:
            return decode(storage.read_bytes(address), address)
        except (CheckpointError, storage.StorageError) as error:
            tell(f"{error}; trying the checkpoint before it")
    return None


def _names(folder: str) -> list[str]:
    return [name for name in storage.list_folder(folder) if name.startswith("step-") and name.endswith(".ckpt")]
