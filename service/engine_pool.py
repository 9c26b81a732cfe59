"""Engines that run side by side, each on its part of the cores, for what has to be done soon but not at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from shared.inference.engine import Engine, PoseArrays


class EnginePool:
    """As many engines as calls run at the same time; each is loaded when it is first needed. Thread-safe.

    Args:
        load: loads one more engine.
    """

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._idle: list[Engine] = []
        self._changing = threading.Lock()

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        """As `shared.inference.engine.Engine.pose`."""
        with self._borrowed() as engine:
            return engine.pose(images)

    def close(self) -> None:
        """Free the engines that no call is using; those in use go with their calls."""
        with self._changing:
            idle, self._idle = self._idle, []
        for engine in idle:
            engine.close()

    @contextmanager
    def _borrowed(self) -> Iterator[Engine]:
        with self._changing:
            engine = self._idle.pop() if self._idle else None
        engine = engine or self._load()
        try:
            yield engine
        finally:
            with self._changing:
                self._idle.append(engine)
