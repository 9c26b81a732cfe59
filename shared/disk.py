"""Waiting until something is on the disk, as far as the system lets one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_FOLDERS_OPEN = hasattr(os, "O_DIRECTORY")  # Windows opens no folders, and syncs only files that may be written to


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk.

    Raises:
        OSError: it cannot be written there.
    """
    _sync(path, os.O_RDONLY if _FOLDERS_OPEN else os.O_RDWR)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows cannot be asked to.

    Raises:
        OSError: they cannot be written there.
    """
    if _FOLDERS_OPEN:
        _sync(path, os.O_RDONLY)


def sync_files_in(folder: Path) -> None:
    """Wait until all files of a folder are on the disk, at once where the system can do that.

    Raises:
        OSError: one cannot be written there.
    """
    sync_all: Callable[[], None] | None = getattr(os, "sync", None)
    if sync_all is not None:
        sync_all()
        return
    for file in folder.iterdir():
        if file.is_file():
            sync_file(file)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
