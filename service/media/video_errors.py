"""What can be wrong with a video."""

from __future__ import annotations

from typing import Literal

from shared.errors import YaopError

VideoErrorReason = Literal[
    "empty",
    "not-video",
    "unsupported-container",
    "unsupported-codec",
    "no-video-stream",
    "no-frames",
    "truncated",
    "corrupt",
    "too-large-pixels",
    "too-long",
    "too-many-frames",
    "too-slow",
    "too-much-memory",
    "interrupted",
]


class VideoError(YaopError):
    """A file that cannot be read as a video.

    Attributes:
        reason: the cause, for callers that answer each differently (an HTTP status, an exit code). "interrupted" says
            nothing about the file: the process that read it was ended from outside, and another try may succeed.
    """

    def __init__(self, reason: VideoErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason: VideoErrorReason = reason
