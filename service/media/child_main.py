"""The main function of child processes that touch uploads: it takes the request, holds itself to limits, answers."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.media.limits import limit_process
from service.media.messages import send
from service.media.video_errors import VideoError
from service.media.watch import TOO_MUCH_MEMORY
from shared.signals import signals_named

_ALIVE_SECONDS = 0.5
_LEAST_ROOM = 16 << 20  # bytes; with less, PyAV would not fail to open a file but crash (as of 18.1)


class Outlet:
    """Where a child's answers go."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last = time.monotonic()

    def send(self, head: Mapping[str, Any], payload: Iterable[bytes | memoryview] = ()) -> None:
        """Send a message; waits until there is room in the pipe."""
        send(self._descriptor, head, payload)
        self._last = time.monotonic()

    def alive(self) -> None:
        """Tell now and then that work goes on, when there is nothing else to tell."""
        if time.monotonic() - self._last > _ALIVE_SECONDS:
            self.send({"alive": True})

    def ask_for_patience(self, seconds: float) -> None:
        """Tell that the next message may take so long: for a call that PyAV does not let other threads run beside."""
        self.send({"alive": True, "patience": seconds})


def run(work: Callable[[dict[str, Any], Outlet], None]) -> None:
    """Do `work` on the request that comes on standard input; what it raises is told to the parent.

    The member ``limits`` of the request has the arguments of `limit_process`. Import what is needed before.
    Requests to stop, which a service manager sends to every process of a service, are left to the parent.
    """
    for number in signals_named("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        signal.signal(number, signal.SIG_IGN)
    outlet = Outlet(1)
    request = json.loads(_first_line(0))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_process(**request["limits"])
    try:
        bytearray(_LEAST_ROOM)
        work(request, outlet)
    except VideoError as error:
        outlet.send({"error": error.reason, "message": str(error)})
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever a broken file does to a decoder, the parent is told
        outlet.send(_told(error))


def _told(error: Exception) -> dict[str, str]:
    # PyAV's MemoryError derives from Python's.
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return dict(zip(("error", "message"), TOO_MUCH_MEMORY, strict=True))
    return {"error": "corrupt", "message": f"it cannot be read ({type(error).__name__}: {error})"}


def _first_line(descriptor: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        data = os.read(descriptor, 65536)
        if not data:
            sys.exit(1)
        line += data
    return bytes(line)


def _end_with_parent() -> None:
    # PR_SET_PDEATHSIG would do without a thread, but it goes by the thread that started the process: a worker thread
    # that retires would take the readers with it that it started for others.
    while os.read(0, 1024):
        pass
    os._exit(1)
