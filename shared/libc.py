"""Functions of the C library that Python has no names for."""

from __future__ import annotations

import ctypes
from typing import Any


def c_function(name: str) -> Any | None:
    """The function, or None where the system has none of this name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has no library of the process itself
        return None
