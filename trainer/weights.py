"""Weight files, written whole or not at all, to a disk or a bucket."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import keras

from trainer import storage


def save_weights(network: keras.Model, location: str | Path) -> None:
    """Write the network's weights (``*.weights.h5``) so that the file is either the old one or the whole new one.

    Raises:
        StorageError: they cannot be written; what was there before is untouched.
    """
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "network.weights.h5"
        try:
            network.save_weights(temporary)
            content = temporary.read_bytes()
        except OSError as error:
            raise storage.StorageError(f"{temporary}: {error.strerror or error}") from error
    storage.write_bytes(str(location), content)


def load_weights(network: keras.Model, location: str | Path) -> None:
    """Read a file that `save_weights` has written for the same network.

    Raises:
        StorageError: it cannot be read, or belongs to another network.
    """
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "network.weights.h5"
        temporary.write_bytes(storage.read_bytes(str(location)))
        try:
            network.load_weights(temporary)
        except (OSError, ValueError) as error:
            raise storage.StorageError(f"{location}: not the weights of this network") from error


def digest_of(location: str) -> str:
    """SHA-256 of a weights file.

    Raises:
        StorageError: it cannot be read.
    """
    return hashlib.sha256(storage.read_bytes(location)).hexdigest()
