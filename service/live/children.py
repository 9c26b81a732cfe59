"""Child processes of live sources, which another thread may end while one listens to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from service.media.child import Child, module_command

ENDLESS = 10**9
"""Seconds of CPU time: as good as no limit."""


class StoppableChild:
    """A child process that is started where it is listened to, and stopped from anywhere.

    Args:
        module: what it runs.
        request: what it is asked.
    """

    def __init__(self, module: str, request: Mapping[str, Any]) -> None:
        self._module = module
        self._request = request
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop: what it says since then is no failure."""
        return self._stopped

    @contextmanager
    def running(self) -> Iterator[Child | None]:
        """The process, which is gone after the block; None if it was stopped before."""
        child = self._start()
        try:
            yield child
        finally:
            with self._lock:
                self._child = None
                if child is not None:
                    child.close()

    def stop(self) -> None:
        """End the process: whoever listens to it gets an error, and no new one is started."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.kill()  # only the listener closes the pipe it listens to

    def _start(self) -> Child | None:
        with self._lock:
            if not self._stopped:
                self._child = Child(module_command(self._module), self._request)
            return self._child
