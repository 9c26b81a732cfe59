"""Reading from a child process with patience that ends."""

from __future__ import annotations

import importlib
import select
import time
from concurrent.futures import Future
from contextlib import suppress
from io import RawIOBase
from threading import Thread
from typing import Any, Protocol

_PIPE_BYTES = 1 << 20  # what Linux allows without privileges: most of a 720p picture
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ; the module fcntl has it on Linux only
_poll: Any = getattr(select, "poll", None)
_READABLE: int = getattr(select, "POLLIN", 1)


class Pipe(Protocol):
    """The reading end of a pipe."""

    def fill(self, view: memoryview, deadline: float) -> None:
        """Fill a view of unsigned bytes.

        Raises:
            TimeoutError: it was not full at the `deadline`, by the clock of `time.monotonic`.
            EOFError: the writer has closed its end.
        """
        ...


def open_pipe(file: RawIOBase) -> Pipe:
    """The way to read from the pipe that suits the system."""
    return ThreadedPipe(file) if _poll is None else PolledPipe(file)


class PolledPipe:
    """Waits for the pipe itself.

    Args:
        file: its reading end.
    """

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self._poll = _poll()  # select cannot take descriptors over 1023
        self._poll.register(file.fileno(), _READABLE)
        with suppress(ImportError, OSError):
            fcntl: Any = importlib.import_module("fcntl")
            fcntl.fcntl(file.fileno(), _SET_PIPE_SIZE, _PIPE_BYTES)

    def fill(self, view: memoryview, deadline: float) -> None:
        """See `Pipe`."""
        while view:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise TimeoutError
            view = _read(self._file, view)


class ThreadedPipe:
    """Waits for a thread that reads, where nothing can wait for a pipe. After a TimeoutError no more can be read.

    Args:
        file: its reading end.
    """

    def __init__(self, file: RawIOBase) -> None:
        self._file = file

    def fill(self, view: memoryview, deadline: float) -> None:
        """See `Pipe`."""
        filled: Future[None] = Future()
        # Not of a pool, which Python waits for at its end: a child that is silent would hold it up.
        Thread(target=self._fill, args=(view, filled), name="yaop-pipe", daemon=True).start()
        filled.result(max(0.0, deadline - time.monotonic()))

    def _fill(self, view: memoryview, filled: Future[None]) -> None:
        try:
            while view:
                view = _read(self._file, view)
        except (EOFError, OSError, ValueError):  # closed, at this end or the other
            filled.set_exception(EOFError())
        else:
            filled.set_result(None)


def _read(file: RawIOBase, view: memoryview) -> memoryview:
    """What is still to be filled of the view."""
    count = file.readinto(view)
    if not count:
        raise EOFError
    return view[count:]
