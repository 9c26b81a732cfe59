"""Numbers of bytes for people."""

from __future__ import annotations

_STEP = 1000


def readable_bytes(count: int) -> str:
    """E.g. "1.5 MB"; to one decimal, so no more than a hint where bytes count."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if round(value, 1) < _STEP:
            return f"{round(value, 1):g} {unit}"
        value /= _STEP
    return f"{round(value, 1):g} TB"
