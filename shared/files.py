"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shared.errors import YaopError
from shared.libc import c_function

_AT_FDCWD = -100  # of Linux's fcntl.h: relative paths begin in the working directory
_RENAME_EXCHANGE = 2


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_MODE = 0o666 & ~_umask()  # found out once: to ask is to change it for a moment, for other threads' files too


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name only when the block ends without an error.

    Raises:
        YaopError: it cannot be written; the message starts with the path.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write to by its name, which replaces `path` when the block ends without an error.

    Whoever writes to it sees to it that it is on the disk.

    Raises:
        YaopError: it cannot be written; the message starts with the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    except OSError as error:
        raise YaopError(f"{path}: {error.strerror or error}") from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_MODE)
        temporary.replace(path)
    except OSError as error:
        raise YaopError(f"{path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def exchange(first: Path, second: Path) -> None:
    """Let two files or folders of one file system change places, at once where the system can do that.

    Raises:
        OSError: it cannot be done; then both are where they were.
    """
    if _exchange_at_once(first, second):
        return
    aside = first.with_name(f".{first.name}.aside")
    first.rename(aside)
    try:
        second.rename(first)
    except OSError:
        aside.rename(first)
        raise
    try:
        aside.rename(second)
    except OSError:
        first.rename(second)
        aside.rename(first)
        raise


def _exchange_at_once(first: Path, second: Path) -> bool:
    rename = c_function("renameat2")  # glibc 2.28 and musl 1.2.4 have it
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0
