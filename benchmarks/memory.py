"""Resident memory of a process over time, sampled on a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_PAUSE = 0.2


class MemorySamples:
    """Of a process, in MB.

    Attributes:
        peak: the most of the process alone.
        peak_with_children: the most of it and all processes that it has started.
    """

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self.peak = self.peak_with_children = 0.0

    def now(self) -> float:
        """Of the process alone."""
        return self._process.memory_info().rss / 1e6

    def sample(self) -> None:
        """Keep the largest."""
        own = self.now()
        others = 0.0
        for child in self._process.children(recursive=True):
            try:
                others += child.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
        self.peak, self.peak_with_children = max(self.peak, own), max(self.peak_with_children, own + others)


@contextmanager
def watching(process: int) -> Iterator[MemorySamples]:
    """Sample until the end of the block."""
    samples, stopped = MemorySamples(process), threading.Event()

    def work() -> None:
        while not stopped.wait(_PAUSE):
            samples.sample()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stopped.set()
        thread.join()
