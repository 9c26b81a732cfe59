"""How much time passes from frame to frame, where timestamps do not always grow."""

from __future__ import annotations

_SET_BACK = 2.0  # seconds; by so much no frames are out of order: the clock is another


def elapsed(last: float | None, timestamp: float) -> tuple[float, float]:
    """The seconds since the last frame, 0 at least, and the timestamp that the next one is to be compared with.

    Args:
        last: what this gave for the frame before; None for the first one.
        timestamp: of this frame in seconds. If it is earlier than the last, no time has passed, and none is counted
            twice until the timestamps are where they were; a clock that was set back is followed.
    """
    if last is None or timestamp < last - _SET_BACK:
        return 0.0, timestamp
    return max(0.0, timestamp - last), max(last, timestamp)
