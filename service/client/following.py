"""A job that is followed to its end."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from pydantic import ValidationError

from service.client.backoff import Backoff
from service.client.connection import Connection, parse
from service.client.events import read_events
from service.jobs.job import Job

_EVENTS_TIMEOUT = httpx.Timeout(60, connect=10)  # the service sends a comment every few seconds when nothing happens


class Following:
    """A job that is followed by its events, over as many connections as it takes."""

    def __init__(self, connection: Connection, path: str, progress: Callable[[Job], None], backoff: Backoff) -> None:
        self._connection = connection
        self._path = path
        self._progress = progress
        self._backoff = backoff
        self._last_id: str | None = None
        self._tries = 0

    def to_the_end(self) -> Job | None:
        """The finished job; None if the events ended before it was."""
        self._tries += 1
        if self._tries > 1 and (job := self._look()).finished:  # also where a proxy holds events back
            return job
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        arguments = {"headers": headers, "timeout": _EVENTS_TIMEOUT}
        with self._connection.stream("GET", f"{self._path}/events", **arguments) as response:
            for event in read_events(response.iter_bytes()):
                self._last_id = event.id or self._last_id
                job = self._take(event.data)
                if job is not None and job.finished:
                    return job
        return None

    def _look(self) -> Job:
        job = parse(Job, self._connection.attempt("GET", self._path))
        self._backoff.reset()
        self._progress(job)
        return job

    def _take(self, data: str) -> Job | None:
        try:
            job = Job.model_validate_json(data)
        except ValidationError:
            return None
        self._backoff.reset()
        self._progress(job)
        return job
