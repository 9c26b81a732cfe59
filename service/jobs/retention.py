"""Keeps the files of video jobs within their age and their share of the disk."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from service.jobs.job import Job
from service.jobs.storage import Storage
from service.problems import Problem

if TYPE_CHECKING:
    from service.jobs.queue import JobQueue

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN = 300.0
_PAGE = 200


@dataclass(frozen=True)
class RetentionPolicy:
    """How long files stay, and how many.

    Attributes:
        max_seconds: after which a finished job is deleted.
        max_bytes: of all jobs together; beyond, finished ones are deleted, the longest finished first.
        grace_seconds: for which a finished job is not deleted because others need space: its client has to come for
            it first. Only where finished jobs alone have more than `max_bytes` it is, as nothing else would help.
        useless_seconds: after which the files of a job that failed or was cancelled go; the job itself stays. Long
            enough for the chunk that was being worked on to end.
        idle_seconds: after which temporary files and downloads of a finished job go, and everything that belongs to
            no job: uploads that broke off with the service. An upload under way changes its file all the time.
    """

    max_seconds: float
    max_bytes: int
    grace_seconds: float = 3600.0
    useless_seconds: float = 300.0
    idle_seconds: float = 3600.0


class Retention:
    """Applies a policy; any number of processes may do so at once.

    Args:
        jobs: the queue.
        storage: of its files.
        policy: to apply.
        clock: seconds since the epoch.
        measured: told how many bytes all files have, after what had to go is gone.
    """

    def __init__(
        self,
        jobs: JobQueue,
        storage: Storage,
        policy: RetentionPolicy,
        clock: Callable[[], float] = time.time,
        measured: Callable[[int], object] | None = None,
    ) -> None:
        self.stopping = threading.Event()
        self._jobs = jobs
        self._storage = storage
        self._policy = policy
        self._clock = clock
        self._measured = measured

    def enforce(self) -> list[str]:
        """Delete what has to go. Blocks; ends early once `stopping` is set. Gives the ids of deleted jobs."""
        self._storage.sweep()
        known = list(self._all_jobs())
        finished = sorted((job for job in known if job.finished), key=_finished_at)
        expired = [job for job in finished if self._age(job) > self._policy.max_seconds]
        deleted = [job.id for job in expired if self._delete(job, "age")]
        self._remove_useless([job for job in finished if job.id not in deleted])
        self._remove_orphans({job.id for job in known})
        return deleted + self._make_room([job for job in finished if job.id not in deleted])

    def _all_jobs(self) -> Iterator[Job]:
        before: str | None = None
        while page := self._jobs.list(limit=_PAGE, before=before):
            yield from page
            before = page[-1].id

    def _age(self, job: Job) -> float:
        return self._clock() - _finished_at(job)

    def _remove_useless(self, finished: list[Job]) -> None:
        for job in self._until_stopped(finished):
            if job.state != "succeeded" and self._age(job) > self._policy.useless_seconds:
                self._storage.remove(job.id)
            elif self._age(job) > self._policy.idle_seconds:
                self._storage.drop_scratch(job.id, self._policy.idle_seconds)

    def _remove_orphans(self, known: set[str]) -> None:
        """Files of no job. A job that was taken in meanwhile was touched just now."""
        for job_id in self._until_stopped(self._storage.jobs()):
            if job_id in known or self._clock() - self._storage.touched(job_id) <= self._policy.idle_seconds:
                continue
            if self._jobs.get(job_id) is None:
                logger.info("files of no job removed", extra={"job": job_id})
                self._storage.remove(job_id)

    def _make_room(self, oldest_first: list[Job]) -> list[str]:
        sizes = {job_id: self._storage.job_bytes(job_id) for job_id in self._until_stopped(self._storage.jobs())}
        excess = sum(sizes.values()) - self._policy.max_bytes
        excess_of_finished = sum(sizes.get(job.id, 0) for job in oldest_first) - self._policy.max_bytes
        deleted: list[str] = []
        for job in self._until_stopped(oldest_first):
            in_grace = self._age(job) <= self._policy.grace_seconds
            if (excess_of_finished if in_grace else excess) <= 0:
                break
            size = sizes.get(job.id, 0)
            if size and self._delete(job, "space"):
                excess, excess_of_finished = excess - size, excess_of_finished - size
                deleted.append(job.id)
        if self._measured is not None and not self.stopping.is_set():
            self._measured(excess + self._policy.max_bytes)
        return deleted

    def _delete(self, job: Job, reason: str) -> bool:
        if self.stopping.is_set():
            return False
        logger.info("video job deleted", extra={"job": job.id, "reason": reason})
        self._storage.remove(job.id)
        self._jobs.delete(job.id)
        return True

    def _until_stopped(self, items: list[T]) -> Iterator[T]:
        for item in items:
            if self.stopping.is_set():
                return
            yield item


async def enforce_regularly(
    jobs: Callable[[], Awaitable[JobQueue]],
    storage: Storage,
    policy: RetentionPolicy,
    measured: Callable[[int], object] | None = None,
    seconds: float = _SECONDS_BETWEEN,
) -> None:
    """Enforce a policy now and every few minutes, until cancelled; a failure is logged, and the next time may do.

    `measured` is told how many bytes there are, each time.
    """
    while True:
        try:
            await _enforce_once(Retention(await jobs(), storage, policy, measured=measured))
        except Problem as problem:  # there is no queue now
            logger.warning("retention has to wait", extra={"reason": problem.detail})
        except Exception:
            logger.exception("retention failed")
        await asyncio.sleep(seconds)


async def _enforce_once(retention: Retention) -> None:
    """On a thread that has ended when this has, also if this is cancelled: the queue may be closed then."""
    work = asyncio.ensure_future(asyncio.to_thread(retention.enforce))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        retention.stopping.set()
        await asyncio.wait((work,))
        raise


def _finished_at(job: Job) -> float:
    return (job.finished_at or job.created_at).timestamp()
