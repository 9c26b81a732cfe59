"""The main function of child processes that touch uploads: it takes the request, holds itself to limits, answers."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.media.limits import limit_process
from service.media.messages import send
from service.media.video_errors import VideoError

_ALIVE_SECONDS = 0.5


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


def run(work: Callable[[dict[str, Any], Outlet], None]) -> None:
    """Do `work` on the request that comes on standard input; what it raises is told to the parent.

    The member ``limits`` of the request has the arguments of `limit_process`. Import what is needed before.
    """
    outlet = Outlet(1)
    request = json.loads(_first_line(0))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_process(**request["limits"])
    try:
        work(request, outlet)
    except VideoError as error:
        outlet.send({"error": error.reason, "message": str(error)})
    except MemoryError:  # PyAV's too: it derives from Python's
        outlet.send({"error": "too-much-memory", "message": "reading it takes too much memory"})
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever a broken file does to a decoder, the parent is told
        outlet.send({"error": "corrupt", "message": f"it cannot be read ({type(error).__name__}: {error})"})


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
