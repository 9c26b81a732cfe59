"""How many videos may be unfinished at once, and how many bytes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.jobs.job import Job
from service.jobs.storage import Storage
from service.problems import Problem
from service.sizes import readable_bytes

if TYPE_CHECKING:
    from service.jobs.queue import JobQueue

_RETRY_AFTER = {"Retry-After": "30"}
_PAGE = 100
_taking = threading.Lock()


class Room:
    """What is left for new videos. Retention cannot make room of unfinished ones, so they have to be kept few.

    Args:
        jobs: the queue.
        storage: of its files.
        max_jobs: most that are queued or running.
        max_bytes: most bytes of their files.
    """

    def __init__(self, jobs: JobQueue, storage: Storage, *, max_jobs: int, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._jobs = jobs
        self._storage = storage
        self._max_jobs = max_jobs

    def require(self, size: int) -> None:
        """Do nothing if there is room for one more video of so many bytes. It blocks.

        Raises:
            Problem: 503, there are too many; 507, they have too many bytes.
        """
        waiting = sum(self._jobs.counts().values())
        if waiting >= self._max_jobs:
            detail = f"{_are(waiting)} queued or being worked on; no more than {self._max_jobs} may be."
            raise Problem(503, "queue-full", detail, headers=_RETRY_AFTER)
        taken = sum(self._bytes_of(job) for job in self._unfinished(waiting))
        if taken + size > self.max_bytes:
            detail = (
                f"The videos that are queued or being worked on take {readable_bytes(taken)}. With this one, "
                f"{readable_bytes(size)}, that is more than the {readable_bytes(self.max_bytes)} that there are. "
                "Nothing was kept; send it again when some of them are finished."
            )
            raise Problem(507, "storage-full", detail, headers=_RETRY_AFTER)

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Require it, and let no other thread take it until the end of the block, where the job is to be queued.

        Raises:
            Problem: as `require`.
        """
        with _taking:
            self.require(size)
            yield

    def _unfinished(self, count: int) -> Iterator[Job]:
        """So many jobs; they are among the newest, so the list is rarely read far."""
        before: str | None = None
        while count > 0 and (page := self._jobs.list(limit=_PAGE, before=before)):
            unfinished = [job for job in page if not job.finished]
            yield from unfinished
            count -= len(unfinished)
            before = page[-1].id

    def _bytes_of(self, job: Job) -> int:
        """Of its source, and of what has been made of it."""
        return job.bytes if job.state == "queued" else max(job.bytes, self._storage.job_bytes(job.id))


def _are(count: int) -> str:
    return "1 video is" if count == 1 else f"{count} videos are"
