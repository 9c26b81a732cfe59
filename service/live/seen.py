"""A result of a live run."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple, Protocol

from service.live.picture import Picture
from service.live.slot import Slot
from shared.schema import Frame


class Seen(NamedTuple):
    """The people of one picture.

    Attributes:
        frame: in pixels of the source's picture, with its number and time there.
        latency: seconds from when the picture was there to when its people were known.
    """

    frame: Frame
    latency: float


class Looker(Protocol):
    """Finds the people in the newest pictures of a source."""

    def results(self, slot: Slot[Picture]) -> Generator[Seen | None, None, None]:
        """Results as they come, until the slot has ended; None now and then when there is nothing else to give.

        Raises:
            YaopError: it cannot go on.
        """
        ...
