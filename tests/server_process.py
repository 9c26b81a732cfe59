"""Servers in processes of their own, on loopback, for the end-to-end tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FAKE = ("-m", "tests.fake_server")
FAKE_WORKER = ("-m", "tests.fake_worker")
REAL = ("-m", "shared.cli", "serve")
START_SECONDS = 120


class Server:
    """A running server, or a worker.

    Attributes:
        url: where it is; empty for a worker.
        cpu_seconds_to_start: processor time it took to be ready.
    """

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ | {"YAOP_PORT": "0", "PYTHONUNBUFFERED": "1"} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        watchdog = threading.Timer(START_SECONDS, self.process.kill)
        watchdog.start()
        assert self.process.stdout
        line = self.process.stdout.readline()
        watchdog.cancel()
        found = re.search(r"http://\S+:\d+", line)
        assert line.startswith("YAOP is "), f"it did not start: {line!r} {''.join(self.errors)}"
        self.url = found.group() if found else ""
        self.cpu_seconds_to_start = self._cpu_seconds()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and wait. Gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(5)
        return code

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = int(fields[11]), int(fields[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def _read_errors(self) -> None:
        assert self.process.stderr
        self.errors += self.process.stderr


@contextmanager
def running(*command: str, **env: str) -> Iterator[Server]:
    """A server that is stopped at the end of the block; `env` are settings without their prefix, as in ``port``.

    Its data is in a folder of its own unless `data_dir` is given.
    """
    with tempfile.TemporaryDirectory(prefix="yaop-test-", ignore_cleanup_errors=True) as folder:
        settings = {"data_dir": folder, **env}
        server = Server(command, {f"YAOP_{name.upper()}": value for name, value in settings.items()})
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.process.kill()
            server.process.wait(30)


@contextmanager
def started(*arguments: str | Path, stdout: Any = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """One ``yaop`` command under way, in a process group of its own as a shell makes it; killed with the block."""
    command = [sys.executable, "-m", "shared.cli", *map(str, arguments)]
    how: dict[str, Any] = {"stdout": stdout, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    how |= {"preexec_fn": _heed_ctrl_c, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, text=True, **how) as process:
        try:
            yield process
        finally:
            process.kill()


def _heed_ctrl_c() -> None:
    """As from a terminal, also where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_yaop(
    *arguments: str | Path, cwd: Path | None = None, stdin: int = subprocess.DEVNULL, seconds: float = 120, **env: str
) -> subprocess.CompletedProcess[bytes]:
    """One ``yaop`` command to its end."""
    paths = os.environ | {"PYTHONPATH": str(ROOT)} | {f"YAOP_{name.upper()}": value for name, value in env.items()}
    command = [sys.executable, "-m", "shared.cli", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd or ROOT, env=paths, capture_output=True, timeout=seconds, stdin=stdin, check=False
    )
