"""Opens the queue of video jobs in a process: the service in the background, a worker before anything else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from service.batching import Batcher
from service.jobs.metrics import JobCounts, JobMetrics
from service.jobs.storage import Storage
from service.media.limits import VideoLimits
from service.models import ModelRepository
from service.problems import Problem
from service.settings import PREFIX, Settings, SettingsError
from shared.errors import YaopError

if TYPE_CHECKING:
    from service.jobs.queue import JobQueue

logger = logging.getLogger(__name__)

UseModels = Callable[[], AbstractContextManager[ModelRepository]]
_SECONDS_BETWEEN_TRIES = 5.0


def video_limits(settings: Settings) -> VideoLimits:
    """What the settings allow a video to be."""
    return VideoLimits(
        max_pixels=settings.max_video_pixels,
        max_seconds=settings.max_video_seconds,
        max_frames=settings.max_video_frames,
    )


def open_queue(
    settings: Settings, models: UseModels, batcher: Batcher, storage: Storage, metrics: JobMetrics | None = None
) -> JobQueue:
    """Open the database, and begin to work on what is in the queue. May take a second; imports DBOS.

    Raises:
        YaopError: the data folder or the database cannot be used.
    """
    from service.jobs.database import open_database
    from service.jobs.queue import JobQueue
    from service.jobs.records import JobRecords
    from service.jobs.runner import JobRunner

    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{PREFIX}DATA_DIR={settings.data_dir}: {error.strerror or error}") from None
    url = settings.database_url.get_secret_value() if settings.database_url else None
    engine = open_database(url, settings.data_dir)
    runner = JobRunner(models, batcher, storage, JobRecords(engine), video_limits(settings), metrics)
    return JobQueue(engine, runner, concurrency=settings.job_concurrency, worker_timeout=settings.worker_timeout)


def _unavailable(reason: str) -> Problem:
    headers = {"Retry-After": str(round(_SECONDS_BETWEEN_TRIES))}
    return Problem(503, "video-jobs-unavailable", f"Videos cannot be taken now: {reason}.", headers=headers)


class StartingQueue:
    """The queue of a service, which opens it while it answers already, and tries again until it can.

    Args:
        open_it: opens the queue; runs on a thread.
        is_away: whether its database does not answer now; whatever asked it would wait until it does.
    """

    def __init__(self, open_it: Callable[[], JobQueue], is_away: Callable[[], bool] = lambda: False) -> None:
        self._open_it = open_it
        self._is_away = is_away
        self._queue: JobQueue | None = None
        self._reason = "it has not been opened yet"
        self._tried = asyncio.Event()
        self._task = asyncio.create_task(self._open())

    async def get(self) -> JobQueue:
        """The queue; waits for the first try to open it.

        Raises:
            Problem: 503, it cannot be opened now, or its database is away.
        """
        await self._tried.wait()
        if self._queue is None:
            raise _unavailable(self._reason)
        if self._is_away():
            raise _unavailable("the database of the jobs does not answer")
        return self._queue

    def count_now(self) -> JobCounts | None:
        """How many jobs there are; None if the queue is not open yet. Waits for the database, so not for coroutines.

        Raises:
            SQLAlchemyError: the database does not answer.
        """
        queue = self._queue
        return None if queue is None else queue.count_now()

    async def close(self, seconds: float) -> None:
        """Stop trying; close the queue, which may take so many seconds."""
        if self._queue is None and self._tried.is_set():
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._queue is not None:
            await asyncio.to_thread(self._queue.close, seconds)

    async def _open(self) -> None:
        while self._queue is None:
            try:
                self._queue = await asyncio.to_thread(self._open_it)
            except Exception as error:
                expected = isinstance(error, YaopError)  # anything else is worth a traceback
                self._reason = " ".join(str(error).split()) if expected else "the log says why"
                logger.exception("video jobs cannot be taken", extra={"reason": str(error)}, exc_info=not expected)
            self._tried.set()
            if self._queue is None:
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
