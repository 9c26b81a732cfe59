"""Files on a local disk or in a bucket (``gs://``) behind one set of functions, for data, runs and bundles.

Local paths never touch TensorFlow; an address with a scheme goes through `tf.io.gfile`, which needs
``tensorflow[gcs-filesystem]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared.errors import YaopError
from shared.files import atomic_write


class StorageError(YaopError):
    """A place that cannot be read or written; the message begins with its address."""


def is_remote(location: str) -> bool:
    """Whether the address has a scheme, as in ``gs://bucket/folder``."""
    return "://" in location


def join(location: str, *parts: str) -> str:
    """The address of something inside a folder."""
    return "/".join([location.rstrip("/") if location != "/" else "", *(part.strip("/") for part in parts)])


def exists(location: str) -> bool:
    """Whether there is a file or folder.

    Raises:
        StorageError: the bucket cannot be reached.
    """
    return _remotely(location, "exists") if is_remote(location) else Path(location).exists()


def make_folder(location: str) -> None:
    """Make a folder and those above it; nothing happens if it is there.

    Raises:
        StorageError: it cannot be made.
    """
    if is_remote(location):
        _remotely(location, "makedirs")
        return
    try:
        Path(location).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{location}: {error.strerror or error}") from error


def list_folder(location: str) -> list[str]:
    """Names (not addresses) of what is in a folder, sorted; nothing if it does not exist."""
    if not exists(location):
        return []
    names: Iterable[str] = _remotely(location, "listdir") if is_remote(location) else _names(location)
    return sorted(name.rstrip("/") for name in names)


def read_bytes(location: str) -> bytes:
    """The content of a file.

    Raises:
        StorageError: there is none, or it cannot be read.
    """
    try:
        if not is_remote(location):
            return Path(location).read_bytes()
    except OSError as error:
        raise StorageError(f"{location}: {error.strerror or error}") from error
    tf = _tensorflow(location)
    try:
        with tf.io.gfile.GFile(location, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        raise StorageError(f"{location}: {_reason(error)}") from error


def write_bytes(location: str, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Locally by a temporary file, flush and rename; a bucket's objects appear whole by themselves.

    Raises:
        StorageError: it cannot be written, for instance because the disk is full; what was there before is untouched.
    """
    if not is_remote(location):
        try:
            with atomic_write(Path(location)) as file:
                file.write(content)
        except YaopError as error:
            raise StorageError(str(error)) from error
        return
    tf = _tensorflow(location)
    try:
        with tf.io.gfile.GFile(location, "wb") as file:
            file.write(content)
    except tf.errors.OpError as error:
        raise StorageError(f"{location}: {_reason(error)}") from error


def remove(location: str) -> None:
    """Delete a file; nothing happens if it is not there."""
    if is_remote(location):
        if exists(location):
            _remotely(location, "remove")
    else:
        Path(location).unlink(missing_ok=True)


def _names(location: str) -> list[str]:
    try:
        return [path.name for path in Path(location).iterdir()]
    except OSError as error:
        raise StorageError(f"{location}: {error.strerror or error}") from error


def _remotely(location: str, operation: str) -> Any:
    tf = _tensorflow(location)
    try:
        return getattr(tf.io.gfile, operation)(location)
    except tf.errors.OpError as error:
        raise StorageError(f"{location}: {_reason(error)}") from error


def _tensorflow(location: str) -> Any:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise StorageError(f"{location}: needs tensorflow[gcs-filesystem]; install yaop[train,gcs]") from error
    return tf


def _reason(error: Any) -> str:
    text = " ".join(str(error.message or error).split())
    if "not implemented" in text:
        return f"{text}; install yaop[train,gcs]"
    return text[:300]
