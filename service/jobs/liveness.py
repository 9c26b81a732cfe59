"""Which workers are alive, and who takes over the jobs of those that are not.

Every worker counts its beats in a row of `yaop_workers`. A worker whose count stands still for the timeout, by the
clock of whoever watches, is dead (clocks of different machines are never compared); one whose process is gone from this
machine is dead at once. Whoever marks a dead worker's row first takes its jobs over.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from service.jobs.database import workers_table

logger = logging.getLogger(__name__)

_BEATS_PER_TIMEOUT = 5


def place_of_this_process() -> str:
    """Names the machine and the space of process ids that this process lives in."""
    parts = [platform.node()]
    for file in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(str(file.readlink()) if file.is_symlink() else file.read_text("ascii").strip())
        except OSError:
            parts.append("")
    return "/".join(parts)[:255]


def _start_of(pid: int) -> float:
    """When a process began, on a clock that nobody sets: ticks since boot on Linux, else seconds since the epoch.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    try:
        return float(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return psutil.Process(pid).create_time()


class Liveness:
    """One worker's beats, and its watch over the others.

    Args:
        engine: of the database.
        timeout: seconds without a beat after which a worker is dead.
        take_over: called with a dead worker's id; has its jobs run again. May be called twice for the same id.
    """

    def __init__(self, engine: sa.Engine, timeout: float, take_over: Callable[[str], object]) -> None:
        self.id = f"{platform.node()[:40]}-{uuid.uuid4().hex[:12]}"
        self._engine = engine
        self._timeout = timeout
        self._take_over = take_over
        self._place = place_of_this_process()
        self._seen: dict[str, tuple[int, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="yaop-liveness", daemon=True)

    def join(self) -> None:
        """Be counted among the workers; call before the first job is taken."""
        row = {"id": self.id, "place": self._place, "pid": os.getpid(), "started": _start_of(os.getpid())}
        with self._engine.begin() as connection:
            connection.execute(sa.insert(workers_table).values(**row, beats=0, gone=False))

    def start(self) -> None:
        """Take over from the dead of this machine now, and beat and watch from now on."""
        self._watch()
        self._thread.start()

    def leave(self) -> None:
        """Beat no more; unfinished jobs may be taken over at once."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._engine.begin() as connection:
            connection.execute(sa.update(workers_table).where(workers_table.c.id == self.id).values(gone=True))

    def _work(self) -> None:
        while not self._stopped.wait(self._timeout / _BEATS_PER_TIMEOUT):
            try:
                self._beat()
                self._watch()
            except Exception:  # a database that is away comes back; the next beat will tell
                logger.exception("the worker could not tell that it is alive")
                self._seen.clear()  # nobody could beat meanwhile, so nobody's silence counts

    def _beat(self) -> None:
        mine = workers_table.c.id == self.id
        with self._engine.begin() as connection:
            beaten = connection.execute(
                sa.update(workers_table).where(mine).values(beats=workers_table.c.beats + 1, gone=False)
            )
        if beaten.rowcount == 0:  # taken for dead while it hung, and buried
            self.join()

    def _watch(self) -> None:
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(workers_table).where(workers_table.c.id != self.id)).all()
        self._seen = {row.id: self._seen.get(row.id, (-1, 0.0)) for row in rows}
        for row in rows:
            if self._is_dead(row) and self._claim(row):
                logger.warning("taking over from a worker that is gone", extra={"worker": row.id})
                self._take_over(row.id)
                self._bury(row.id)

    def _is_dead(self, row: sa.Row[Any]) -> bool:
        if row.gone or self._is_dead_here(row):
            return True
        beats, since = self._seen[row.id]
        if row.beats != beats:
            self._seen[row.id] = row.beats, time.monotonic()
            return False
        return time.monotonic() - since > self._timeout

    def _is_dead_here(self, row: sa.Row[Any]) -> bool:
        if row.place != self._place:
            return False
        try:
            return abs(_start_of(row.pid) - row.started) > 1
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def _claim(self, row: sa.Row[Any]) -> bool:
        """Only one of several that see it can move the count on from what they saw."""
        its = (workers_table.c.id == row.id) & (workers_table.c.beats == row.beats)
        with self._engine.begin() as connection:
            return connection.execute(sa.update(workers_table).where(its).values(beats=row.beats + 1)).rowcount == 1

    def _bury(self, worker: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(workers_table).where(workers_table.c.id == worker))
