"""When a live run is to end: after some time, or when it is asked to."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.signals import STOPS


class Stop:
    """Asked by every part of a run whether to go on.

    Args:
        seconds: after `begin`, when it is to end by itself; None: never.

    Attributes:
        signal: the number of the signal that asked for the end; None if none did.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.signal: int | None = None
        self._seconds = seconds
        self._deadline: float | None = None
        self._asked = False
        self._awake = threading.Event()

    def begin(self) -> None:
        """The run's time starts now."""
        self._deadline = None if self._seconds is None else time.monotonic() + self._seconds

    def request(self) -> None:
        """Ask for the end."""
        self._asked = True
        self._awake.set()

    def wake(self) -> None:
        """End `wait`, now and from now on: what it waits for may be of no use any more."""
        self._awake.set()

    @property
    def requested(self) -> bool:
        """Whether it is time to end."""
        return self._asked or (self._deadline is not None and time.monotonic() >= self._deadline)

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until it is time to end, or `wake`."""
        left = seconds if self._deadline is None else min(seconds, self._deadline - time.monotonic())
        self._awake.wait(max(0.0, left))

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask for the end while the block runs, and break it off the second time.

        So no line of a log is cut in the middle.
        """

        def ask(number: int, _: FrameType | None) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number
            self.request()

        before = {number: signal.signal(number, ask) for number in STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
