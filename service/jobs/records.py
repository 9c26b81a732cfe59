"""The rows of `yaop_jobs`: order and keys of jobs, and how far they are."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.jobs.database import jobs_table


class Progress(NamedTuple):
    """How far a job is."""

    frames_done: int
    fps: float | None


class JobRecords:
    """Reads and writes the rows. Thread-safe."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, job_id: str, key: str | None) -> str:
        """Insert a row, unless there is one with this id or key. Gives the id of the row that is there then."""
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(jobs_table).values(id=job_id, idempotency_key=key))
        except IntegrityError:
            return (self.find(key) if key is not None else None) or job_id
        return job_id

    def find(self, key: str) -> str | None:
        """The id of the job with this idempotency key."""
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(jobs_table.c.id).where(jobs_table.c.idempotency_key == key))

    def page(self, limit: int, before: str | None) -> list[str]:
        """Ids, newest first, older than `before`."""
        query = sa.select(jobs_table.c.id).order_by(jobs_table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs_table.c.id < before)
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def progress(self, job_ids: list[str]) -> dict[str, Progress]:
        """How far these jobs are."""
        columns = jobs_table.c.id, jobs_table.c.frames_done, jobs_table.c.fps
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(jobs_table.c.id.in_(job_ids)))
            return {row.id: Progress(row.frames_done, row.fps) for row in rows}

    def count_attempt(self, job_id: str) -> int:
        """How often the job was begun or taken up since it last made progress, this time included."""
        mine = jobs_table.c.id == job_id
        with self._engine.begin() as connection:
            connection.execute(sa.update(jobs_table).where(mine).values(attempts=jobs_table.c.attempts + 1, fps=None))
            return connection.scalar(sa.select(jobs_table.c.attempts).where(mine)) or 1

    def note_progress(self, job_id: str, frames_done: int, fps: float | None, *, durable: bool) -> None:
        """Tell how far it is; `durable` progress (a finished chunk) forgives earlier failed attempts."""
        values = {"frames_done": frames_done, "fps": fps} | ({"attempts": 0} if durable else {})
        with self._engine.begin() as connection:
            connection.execute(sa.update(jobs_table).where(jobs_table.c.id == job_id).values(values))

    def remove(self, job_id: str) -> None:
        """Delete the row."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(jobs_table).where(jobs_table.c.id == job_id))
