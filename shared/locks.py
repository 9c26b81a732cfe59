"""One process at a time in a folder."""

from __future__ import annotations

import importlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

LOCK_FILE = ".lock"
"""Where a folder itself cannot be locked; it stays, empty."""


class HeldError(Exception):
    """Somebody else holds the folder."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold an existing folder until the end of the block or, however that comes, of the process.

    Raises:
        HeldError: another block, here or in another process, holds it.
        OSError: the folder cannot be opened.
    """
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:
        lock = _locked_by_database(folder)
    else:
        lock = _locked_by_descriptor(folder, fcntl)
    with lock:
        yield


@contextmanager
def _locked_by_descriptor(folder: Path, fcntl: Any) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HeldError from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _locked_by_database(folder: Path) -> Iterator[None]:
    """By a lock of SQLite's, which locks files on every system that Python runs on."""
    try:
        connection = sqlite3.connect(folder / LOCK_FILE, timeout=0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise OSError(f"{folder / LOCK_FILE}: {error}") from error
    with closing(connection):
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise HeldError from error
            raise OSError(f"{folder / LOCK_FILE}: {error}") from error
        yield
