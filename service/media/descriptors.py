"""File descriptors that Python and FFmpeg both read from."""

from __future__ import annotations

import os
from typing import Any

_pread: Any = getattr(os, "pread", None)

SHARED = _pread is not None
"""Whether a descriptor is the same file for FFmpeg as for Python. On Windows each has a C library of its own."""

READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """Up to `count` bytes from `offset` on. Where descriptors are `SHARED` their position is left alone."""
    if _pread is not None:
        return _pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)
