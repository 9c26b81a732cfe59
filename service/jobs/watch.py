"""Reads something slow or unreliable on a thread of its own, so that who asks for it gets an answer at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

_READINGS_UNTIL_STALE = 3
_SECONDS_UNTIL_FIRST = 0.5
_SECONDS_TO_END = 1.0


class Watch(Generic[T]):
    """Reads a value every few seconds, from its creation until it is closed.

    Args:
        read: gives the value; may take its time, and raise anything if there is none. None: there is none yet, which
            is nothing to tell of, and may change soon.
        seconds: from the end of a reading to the beginning of the next.
    """

    def __init__(self, read: Callable[[], T | None], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._latest: tuple[T, float] | None = None
        self._began = time.monotonic()
        self._failed = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="yaop-count-watch", daemon=True)
        self._thread.start()

    @property
    def latest(self) -> T | None:
        """The value as of the last reading; None if that failed, or has been going on for long."""
        latest = self._latest
        if latest is None or time.monotonic() - latest[1] > _READINGS_UNTIL_STALE * self._seconds:
            return None
        return latest[0]

    @property
    def failed(self) -> bool:
        """Whether the last reading failed, or one has been going on for long."""
        return self._failed or time.monotonic() - self._began > _READINGS_UNTIL_STALE * self._seconds

    def close(self) -> None:
        """Read no more. A reading under way is waited for only a moment."""
        self._stopped.set()
        self._thread.join(_SECONDS_TO_END)

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._began = time.monotonic()
            try:
                value = self._read()
                self._latest = None if value is None else (value, time.monotonic())
                self._failed = False
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no value now, and may be one later
                value, self._latest = error, None
                self._tell(error)
            self._stopped.wait(self._seconds if value is not None else min(self._seconds, _SECONDS_UNTIL_FIRST))

    def _tell(self, error: Exception) -> None:
        """Once, not every few seconds."""
        if not self._failed and not self._stopped.is_set():
            logger.warning("video jobs cannot be counted now", extra={"reason": " ".join(str(error).split())})
        self._failed = True
