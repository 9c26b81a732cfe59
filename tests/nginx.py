"""nginx with the configuration of the scale profile, on loopback and without root, for the tests."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.server_process import ROOT

CONFIGURATION = ROOT / "deploy" / "nginx"
SECONDS = 20.0

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin"
_REPLICAS = "server replica:8000 resolve "
_LISTEN = "listen 8080;"


def find_nginx() -> Path | None:
    """The program, or None if nginx is not installed."""
    found = shutil.which("nginx") or shutil.which("nginx", path=_SYSTEM_FOLDERS)
    return Path(found) if found else None


class Nginx:
    """A running nginx.

    Attributes:
        port: where it listens.
        url: the same, for clients.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder

    def log(self) -> list[dict[str, Any]]:
        """The requests that were answered, in the order in which they were."""
        lines = (self._folder / "access.log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def logged(self, request_id: str) -> dict[str, Any]:
        """What the log says of one request; waits for it, since a client has the answer first."""
        end = time.monotonic() + SECONDS
        while True:
            found = [line for line in self.log() if line["request_id"] == request_id]
            if found:
                return found[-1]
            assert time.monotonic() < end, f"{request_id} is not in the log of nginx"
            time.sleep(0.02)

    def complaints(self) -> str:
        """What it has written to the standard error output."""
        return (self._folder / "error.log").read_text()


def complaints_about(configuration: Path) -> str:
    """What nginx says of a main configuration file; empty if it takes it."""
    command = [str(find_nginx()), "-t", "-q", "-e", "stderr", "-c", str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    return done.stderr or ("" if done.returncode == 0 else f"it ended with {done.returncode}")


@contextmanager
def nginx(replicas: Sequence[int]) -> Iterator[Nginx]:
    """An nginx in front of these ports of loopback, stopped at the end of the block."""
    program = find_nginx()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="yaop-nginx-") as name:
        folder = Path(name)
        port = free_port()
        write_configuration(folder, port, replicas)
        with _started(program, folder) as process:
            running = Nginx(port, folder)
            _wait_for(running, process)
            yield running


def write_configuration(folder: Path, port: int, replicas: Sequence[int]) -> None:
    """The repository's files, but with this port to listen on, these replicas, and `folder` in place of /tmp."""
    servers = "\n    ".join(f"server 127.0.0.1:{replica} " for replica in replicas)
    (folder / "yaop").mkdir()
    main = (CONFIGURATION / "nginx.conf").read_text()
    (folder / "nginx.conf").write_text(main.replace(" /tmp/", f" {folder}/"))
    for file, old, new in (
        ("yaop.conf", _LISTEN, f"listen 127.0.0.1:{port};"),
        ("upstream.conf", _REPLICAS, servers),
    ):
        text = (CONFIGURATION / file).read_text()
        assert text.count(old) == 1, f"{file} is not as expected"
        (folder / "yaop" / file).write_text(_with_options(text, old, new))


def _with_options(text: str, old: str, new: str) -> str:
    """`text` with each line of `new` in place of `old`, followed by what follows that on its line."""
    before, _, after = text.partition(old)
    rest, newline, following = after.partition("\n")
    return before + "\n".join(line + rest for line in new.split("\n")) + newline + following


@contextmanager
def _started(program: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [str(program), "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    with (folder / "access.log").open("wb") as out, (folder / "error.log").open("wb") as errors:
        who = _give_away(folder)
        process = subprocess.Popen(command, stdout=out, stderr=errors, cwd="/", text=True, **who)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(SECONDS)


def _give_away(folder: Path) -> dict[str, Any]:
    """As root, nginx runs as nobody, who gets the folder; gives how to start it."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_for(running: Nginx, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None and time.monotonic() < end, running.complaints()
        try:
            socket.create_connection(("127.0.0.1", running.port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
