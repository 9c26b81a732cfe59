"""Threads for the work around the engine (decoding, assembly, drawing), kept off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from service.batching import QueueFull

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """A fixed number of threads, and a limit on the pictures that are in progress at once.

    The limit bounds memory: a picture in progress holds its upload and its network input, and only one that
    a thread is working on holds its pixels.

    Args:
        threads: how many pictures are decoded, assembled or drawn at the same time.
        capacity: how many pictures may be in progress.
    """

    def __init__(self, threads: int, capacity: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="yaop-worker")
        self._capacity = capacity
        self._admitted = 0

    @property
    def admitted(self) -> int:
        """How many pictures are in progress now."""
        return self._admitted

    def require_room(self) -> None:
        """Raise QueueFull unless one more picture may be admitted now."""
        if self._admitted >= self._capacity:
            raise QueueFull(f"{self._admitted} pictures are already in progress.")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count one picture as in progress. Only from the event loop's thread.

        Raises:
            QueueFull: as many are in progress as may be.
        """
        self.require_room()
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `function` on one of the threads; cancelling the wait takes it back if it has not begun."""
        return await asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))

    def close(self) -> None:
        """Let the threads finish what they are doing and stop."""
        self._pool.shutdown(wait=True, cancel_futures=True)
