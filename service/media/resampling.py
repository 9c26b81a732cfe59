"""A constant frame rate out of frames that come at any time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from service.media.frame import VideoFrame


def resampled(
    frames: Iterator[tuple[VideoFrame, float]], fps: float, first_index: int | None = None
) -> Iterator[VideoFrame]:
    """Frames at a constant rate; each shows the last one that was due before half of its time was over.

    Args:
        frames: frames and the seconds each lasts.
        fps: frames a second.
        first_index: of the first frame that comes out, if it isn't the one due at the first frame's time.
    """
    shown: tuple[VideoFrame, float] | None = None
    index = 0
    for frame, seconds in frames:
        slot = _slot(frame.timestamp, fps)
        if shown is None:
            index = slot if first_index is None else first_index
        else:
            yield from _repeated(shown[0], index, slot, fps)
            index = max(index, slot)
        shown = frame, seconds
    if shown is not None:
        frame, seconds = shown
        end = max(1, _slot(frame.timestamp + seconds, fps))
        yield from _repeated(frame, index, end, fps)


def _slot(timestamp: float, fps: float) -> int:
    # A time that falls on the half by its nature (25 frames a second from 50) must not depend on rounding.
    return math.floor(timestamp * fps + 0.5 + 1e-6)


def _repeated(frame: VideoFrame, first: int, end: int, fps: float) -> Iterator[VideoFrame]:
    for index in range(first, end):
        planes = frame.planes if index == end - 1 else frame.planes.copy()  # whoever draws on one spares the others
        yield replace(frame, index=index, timestamp=index / fps, planes=planes)
