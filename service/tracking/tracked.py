"""The people of a frame together with who they are."""

from __future__ import annotations

from typing import NamedTuple

from shared.assembly import People
from shared.errors import YaopError


class TrackingStateError(YaopError):
    """A saved state that does not fit the skeleton, or is none."""


class Tracked(NamedTuple):
    """The people of one frame with their ids.

    Attributes:
        people: in pixels of the frame.
        ids: one per person, from 1; the same number is the same person in every frame of a video.
    """

    people: People
    ids: tuple[int, ...]
