"""By when the headers of a request have to be there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Of one connection. Costs a timer when it begins, and none for requests whose headers come in one piece.

    Args:
        loop: of the connection.
        seconds: from when headers are due until it has passed.
        passed: called then.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, passed: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None

    def set(self, due: bool) -> None:
        """Say whether headers are due. Where they were already, the time goes on."""
        if due:
            if self._timer is None:
                self._timer = self._loop.call_later(self._seconds, self._pass)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pass(self) -> None:
        self._timer = None
        self._passed()
