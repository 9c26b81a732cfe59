"""A PostgreSQL server of its own for the tests that share jobs between processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

_DEBIAN = Path("/usr/lib/postgresql")


def find_postgres() -> Path | None:
    """The folder with ``initdb`` and ``postgres``, or None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@contextmanager
def postgres() -> Iterator[str]:
    """A server on loopback with its data in a folder of its own, gone at the end of the block. Gives a database's URL.

    Not in a folder of pytest's: those are closed to others, and PostgreSQL refuses to run as root.
    """
    programs = find_postgres()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="yaop-postgres-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        as_owner = _as_owner(Path(folder))
        _run([*as_owner, programs / "initdb", "-D", data, "-U", "yaop", "-A", "trust", "--no-sync", "-E", "UTF8"])
        port = free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
        control = [*as_owner, programs / "pg_ctl", "-D", data, "-w"]
        _run([*control, "-l", data / "log", "-o", options, "start"])
        try:
            yield f"postgresql://yaop@127.0.0.1:{port}/postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"])


def _as_owner(folder: Path) -> list[str | Path]:
    if os.geteuid() != 0:
        return []
    for path in (folder, folder / "data"):
        shutil.chown(path, "postgres")
    return ["runuser", "-u", "postgres", "--"]


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )
    assert done.returncode == 0, f"{command[-1]}: {done.stdout}{done.stderr}"
