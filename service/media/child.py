"""Child processes that touch uploads, as the parent sees them: started bare, listened to with patience, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from io import RawIOBase
from pathlib import Path
from typing import Any, Self, get_args

from service.media.messages import HEAD_BYTES, parse_head, parse_length
from service.media.pipes import open_pipe
from service.media.video_errors import VideoError, VideoErrorReason
from service.media.watch import TOO_MUCH_TIME, Watch, watch
from shared.signals import signals_named

_ROOT = Path(__file__).resolve().parents[2]
_MOST_PATIENCE = 3600.0  # seconds of silence that a child may ask for
# What a process gets for what it does itself; any other signal comes from outside.
_FAULTS = signals_named("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGXFSZ")
_TOO_SLOW = signals_named("SIGXCPU")
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ", "SYSTEMROOT")
# On Windows, what a session of its own and `limits.limit_process` see to elsewhere; 0 there.
_CREATION: int = sum(
    getattr(subprocess, name, 0)
    for name in ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW", "BELOW_NORMAL_PRIORITY_CLASS")
)


def module_command(module: str) -> list[str]:
    """The command that runs a module of this package in a Python of its own."""
    return [sys.executable, "-P", "-m", module]


class Child(AbstractContextManager["Child"]):
    """A running child process.

    It gets its request as a line of JSON on standard input, which then stays open: its end tells the child that
    this process is gone, however that came about (see `service.media.child_main`). It answers by messages on standard
    output. It inherits no other file and next to no environment.

    Args:
        command: usually of `module_command`.
        request: a JSON object.
    """

    def __init__(self, command: Sequence[str], request: Mapping[str, Any]) -> None:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=_ROOT,
            start_new_session=True,  # Ctrl+C is this process's to handle
            creationflags=_CREATION,
            bufsize=0,
        )
        self._watch = watch(self._process, request.get("limits"))
        self._finalizer = weakref.finalize(self, _end, self._process, self._watch)
        assert self._process.stdin is not None and isinstance(self._process.stdout, RawIOBase)
        self._pipe = open_pipe(self._process.stdout)
        with suppress(BrokenPipeError):  # it ended at once: receive tells why
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next message that is more than a sign of life; an error is raised.

        Args:
            seconds: longest silence, unless the child asks for patience (see `Outlet.ask_for_patience`).

        Raises:
            VideoError: what the child reports, or that it was silent for too long or ended without a word.
        """
        patience = seconds
        while True:
            deadline = time.monotonic() + patience
            try:
                size = parse_length(self._read(HEAD_BYTES, deadline))
                head = parse_head(self._read(size, deadline))
            except ValueError as error:
                raise self._failed("corrupt", f"the process that reads it answers {error}") from error
            if "error" in head:
                self.close()
                raise _reported(head)
            if "alive" not in head:
                return head
            patience = max(seconds, _patience(head))

    def read_into(self, view: memoryview, seconds: float) -> None:
        """Fill `view`, of unsigned bytes, with what follows a message.

        Raises:
            VideoError: as for `receive`.
        """
        self._fill(view, time.monotonic() + seconds)

    def kill(self) -> None:
        """End the process, from any thread; whoever listens to it gets an error."""
        self._process.kill()

    def close(self) -> None:
        """Kill it, if it still runs."""
        self._finalizer()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def _read(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        self._fill(memoryview(data), deadline)
        return data

    def _fill(self, view: memoryview, deadline: float) -> None:
        try:
            self._pipe.fill(view, deadline)
        except TimeoutError:
            raise self._failed("too-slow", "reading it takes too long") from None
        except EOFError:
            raise self._ended() from None

    def _ended(self) -> VideoError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if self._watch is not None and self._watch.verdict is not None:
            return self._failed(*self._watch.verdict)
        if code is not None and -code in _TOO_SLOW:
            return self._failed(*TOO_MUCH_TIME)
        if code is not None and code < 0 and -code not in _FAULTS:
            return self._failed("interrupted", f"the process that reads it was ended from outside ({_described(code)})")
        return self._failed("corrupt", f"the process that read it broke off ({_described(code)})")

    def _failed(self, reason: VideoErrorReason, message: str) -> VideoError:
        self.close()
        return VideoError(reason, message)


def ask(command: Sequence[str], request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The one answer of a child process, which is ended then.

    Args:
        command: usually of `module_command`.
        request: a JSON object.
        seconds: longest silence before the answer, as for `Child.receive`; whoever gives no sign of life, as
            `service.media.probe_child` does, has so long altogether.

    Raises:
        VideoError: what the child reports, or that it was silent for too long or ended without a word.
    """
    with Child(command, request) as child:
        return child.receive(seconds)


def _end(process: subprocess.Popen[bytes], watch: Watch | None) -> None:
    if watch is not None:
        watch.end()
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _reported(head: Mapping[str, Any]) -> VideoError:
    reason = head["error"] if head["error"] in get_args(VideoErrorReason) else "corrupt"
    return VideoError(reason, str(head.get("message", "")))


def _patience(head: Mapping[str, Any]) -> float:
    asked = head.get("patience", 0.0)
    return min(asked, _MOST_PATIENCE) if isinstance(asked, int | float) else 0.0


def _described(code: int | None) -> str:
    if code is None:
        return "it closed its output"
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
