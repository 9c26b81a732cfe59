"""Holding a child process to its limits from outside, where the system does not; see `service.media.limits`."""

from __future__ import annotations

import importlib
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from service.media.limits import KEPT_BY_SYSTEM
from service.media.video_errors import VideoErrorReason

TOO_MUCH_MEMORY: tuple[VideoErrorReason, str] = ("too-much-memory", "reading it takes too much memory")
TOO_MUCH_TIME: tuple[VideoErrorReason, str] = ("too-slow", "reading it takes too much computing time")

_SECONDS = 0.1  # between two looks
_LOOKS_PER_FAMILY = 10  # the Python of a virtual environment on Windows starts another, which is the one that works


class Watch:
    """Looks at what a process and those that it started take of the machine, and kills them when it is too much.

    Args:
        process: the child.
        memory_bytes: resident memory; a process that grows fast is over it for a moment.
        cpu_seconds: CPU time of all threads.

    Attributes:
        verdict: reason and message, once it was killed for one.
    """

    def __init__(self, process: subprocess.Popen[bytes], memory_bytes: int, cpu_seconds: float) -> None:
        self.verdict: tuple[VideoErrorReason, str] | None = None
        self._process = process
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._psutil: Any = importlib.import_module("psutil")
        self._ended = threading.Event()
        threading.Thread(target=self._work, name="yaop-child-watch", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _work(self) -> None:
        with suppress(self._psutil.Error):
            for family in self._families():
                self.verdict = self._judged(family)
                if self.verdict is not None:
                    for member in family:
                        with suppress(self._psutil.Error):
                            member.kill()
                    return

    def _families(self) -> Iterator[list[Any]]:
        """The processes to look at, each time that it is time to."""
        child, looks = self._psutil.Process(self._process.pid), 0
        family: list[Any] = []
        while not self._ended.wait(_SECONDS) and self._process.returncode is None:
            if looks % _LOOKS_PER_FAMILY == 0:
                family = [child, *child.children(recursive=True)]
            looks += 1
            yield family

    def _judged(self, family: list[Any]) -> tuple[VideoErrorReason, str] | None:
        memory, seconds = 0, 0.0
        for member in family:
            with suppress(self._psutil.Error), member.oneshot():
                memory += member.memory_info().rss
                times = member.cpu_times()
                seconds += times.user + times.system
        if memory > self._memory_bytes:
            return TOO_MUCH_MEMORY
        return TOO_MUCH_TIME if seconds > self._cpu_seconds else None


def watch(process: subprocess.Popen[bytes], limits: Mapping[str, Any] | None) -> Watch | None:
    """Watch a child, unless the system itself holds it to these limits (of `limit_process`), or psutil is missing."""
    if KEPT_BY_SYSTEM or limits is None:
        return None
    try:
        return Watch(process, limits["memory_bytes"], limits["cpu_seconds"])
    except ImportError:
        return None
