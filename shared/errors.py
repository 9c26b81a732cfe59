"""Failures that are not bugs: bad input, a missing file, a package that is not installed."""

from __future__ import annotations

from typing import Literal


class YaopError(Exception):
    """Base of every expected failure.

    The message is for the person who caused it: what was wrong and, where known, what would be right.
    """


ImageErrorKind = Literal["empty", "unsupported", "truncated", "too_large_pixels", "corrupt"]


class ImageError(YaopError):
    """Bytes that cannot be turned into a picture.

    Attributes:
        kind: the cause, for callers that answer each differently (an HTTP status, an exit code).
    """

    def __init__(self, kind: ImageErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind: ImageErrorKind = kind
