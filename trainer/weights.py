"""Weight files, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import keras


def save_weights(network: keras.Model, path: Path) -> None:
    """Write the network's weights so that the file is either the old one or the whole new one."""
    temporary = path.with_name(f"{path.name.removesuffix('.weights.h5')}.tmp.weights.h5")
    network.save_weights(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
