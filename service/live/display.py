"""The figures of a live run on the standard error: one refreshed line on a terminal, one now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from service.progress import Notes, one_line

_REFRESH_SECONDS = 0.2
_QUIET_SECONDS = 10.0
_CLEAR = "\r\x1b[2K"


class LiveDisplay(Protocol):
    """Shows how a run goes; from any thread."""

    def show(self, line: Callable[[], str]) -> None:
        """Show this line, which is asked for if it is time to."""
        ...

    def note(self, message: str) -> None:
        """Show one line that stays."""
        ...

    def close(self) -> None:
        """Leave the terminal in order."""
        ...


class RefreshedLine:
    """One line of a terminal.

    Args:
        stream: the terminal.
        clock: that of `time.monotonic`.
        width: its columns; None asks it.
    """

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, width: Callable[[], int] | None = None
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._width = width or _columns
        self._last = -_REFRESH_SECONDS
        self._line = ""
        self._lock = threading.Lock()

    def show(self, line: Callable[[], str]) -> None:
        """Put this line in place of the last."""
        with self._lock:
            if self._clock() - self._last >= _REFRESH_SECONDS:
                self._last = self._clock()
                self._line = line()[: max(1, self._width() - 1)]
                self._write(_CLEAR + self._line)

    def note(self, message: str) -> None:
        """Show one line above it."""
        with self._lock:
            self._write(f"{_CLEAR}{one_line(message)}\n{self._line}")

    def close(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._line:
                self._line = ""
                self._write(_CLEAR)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class LineNowAndThen(Notes):
    """A line for each ten seconds.

    Args:
        stream: where they go.
        clock: that of `time.monotonic`.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._last = clock()

    def show(self, line: Callable[[], str]) -> None:
        """Write the line, if ten seconds have passed since the last."""
        if self._clock() - self._last >= _QUIET_SECONDS:
            self._last = self._clock()
            self.note(line())

    def close(self) -> None:
        """Nothing is left to do."""


def choose_display(*, lines_on_terminal: bool) -> LiveDisplay:
    """What shows the figures on the standard error.

    Args:
        lines_on_terminal: whether results are written to a terminal, which a refreshed line would garble.
    """
    return RefreshedLine(sys.stderr) if sys.stderr.isatty() and not lines_on_terminal else LineNowAndThen(sys.stderr)


def _columns() -> int:
    return shutil.get_terminal_size().columns
