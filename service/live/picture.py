"""A picture of a live source, on its way to whoever looks at it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Letterbox


class Pixels(Protocol):
    """What a picture shows, upright; it is made RGB of the size that is needed only when somebody looks at it."""

    @property
    def width(self) -> int:
        """In pixels."""
        ...

    @property
    def height(self) -> int:
        """In pixels."""
        ...

    def letterboxed(self, box: Letterbox) -> NDArray[np.uint8]:
        """RGB uint8 ``[1, H, W, 3]`` for a letterbox of the whole picture."""
        ...


@dataclass(frozen=True)
class Picture:
    """One picture of a source.

    Attributes:
        index: its number in the source, from 0; numbers that are missing were not looked at.
        timestamp: seconds from the source's start.
        pixels: what it shows.
        taken: when it was there, by `time.monotonic`.
    """

    index: int
    timestamp: float
    pixels: Pixels
    taken: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class BgrPixels:
    """A picture as OpenCV's cameras give it.

    Attributes:
        image: blue, green, red, uint8 ``[height, width, 3]``.
    """

    image: NDArray[np.uint8]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.image.shape[1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.image.shape[0]

    def letterboxed(self, box: Letterbox) -> NDArray[np.uint8]:
        """RGB uint8 ``[1, H, W, 3]`` for a letterbox of the whole picture."""
        return np.ascontiguousarray(box.apply(self.image)[None, ..., ::-1])
