"""At which rate a result runs, and how many frames that makes."""

from __future__ import annotations

import math

from service.jobs.options import VideoOptions
from service.media.codecs import find_codec
from service.media.probe import VideoInfo


def constant_fps(options: VideoOptions, source: VideoInfo) -> float | None:
    """The constant rate that frames are brought to before they are looked at; None: the source's times are kept.

    A container without time stamps (AVI) makes a source with a variable rate run at its mean.
    """
    if options.fps is None and source.variable and find_codec(options.codec).constant_rate:
        return source.fps
    return options.fps


def fps_of_result(options: VideoOptions, source: VideoInfo) -> float:
    """Frames a second of the result, on average."""
    return constant_fps(options, source) or source.fps


def frames_of_result(options: VideoOptions, source: VideoInfo) -> int:
    """How many frames the result will have, if no frame of the source is damaged."""
    fps = constant_fps(options, source)
    if fps is None:
        return source.frames
    return max(1, math.floor(source.seconds * fps + 0.5 + 1e-6))  # as `resampled` does
