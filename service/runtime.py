"""What an application holds while it runs, in one object that the routes get at through `service.api.deps`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.batching import Batcher
from service.jobs.metrics import JobMetrics
from service.jobs.retention import RetentionPolicy, enforce_regularly
from service.jobs.start import StartingQueue, open_queue
from service.jobs.storage import Storage
from service.metrics import Metrics
from service.models import ModelRepository
from service.pipeline import Pipeline
from service.reload import Reloader, ServedModels
from service.settings import Settings
from service.streams.registry import Streams
from service.workers import Workers

DRAIN_SECONDS = 5.0
"""How long streams get to answer what they work on, at shutdown."""


@dataclass(frozen=True)
class Runtime:
    """The running parts of one application; `jobs` is None if it takes no videos."""

    settings: Settings
    served: ServedModels
    reloader: Reloader
    batcher: Batcher
    workers: Workers
    metrics: Metrics
    pipeline: Pipeline
    storage: Storage
    streams: Streams
    jobs: StartingQueue | None


@asynccontextmanager
async def running(settings: Settings, models: ModelRepository, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Warm the models up, start the threads; at the end let what is queued finish, then stop everything."""
    await asyncio.to_thread(_warm_up, models)
    batcher = Batcher(settings.queue_size, metrics, models.lanes)
    workers = Workers(settings.workers, settings.queue_size)
    metrics.watch("queue_depth", lambda: batcher.depth)
    metrics.watch("pictures_in_progress", lambda: workers.admitted)
    metrics.queue_limit.set(settings.queue_size)
    metrics.artifact_limit.set(settings.max_artifact_bytes)
    pipeline = Pipeline(workers, batcher, metrics, deadline=settings.deadline, max_pixels=settings.max_pixels)
    # On the engine's thread, so that no engine is taken from under a call whose request has been given up.
    served = ServedModels(models, lambda replaced: batcher.run_between_calls(replaced.close))
    storage = Storage(settings.artifacts_url, settings.data_dir)
    reloader = Reloader(settings, served)
    streams = Streams(settings.max_streams, settings.max_streams_per_address, _pictures_at_work(settings, models))
    metrics.watch("streams", lambda: len(streams))
    try:
        async with _video_jobs(settings, served, batcher, storage, metrics.jobs) as jobs:
            yield Runtime(settings, served, reloader, batcher, workers, metrics, pipeline, storage, streams, jobs)
    finally:
        await streams.drain(DRAIN_SECONDS)
        await asyncio.to_thread(_stop, batcher, workers, served, settings.shutdown_timeout)


@asynccontextmanager
async def _video_jobs(
    settings: Settings, served: ServedModels, batcher: Batcher, storage: Storage, metrics: JobMetrics
) -> AsyncIterator[StartingQueue | None]:
    """The queue, and the task that deletes what is too old; both end before the batcher that they need."""
    if not settings.videos:
        yield None
        return
    jobs = StartingQueue(
        lambda: open_queue(settings, served.use, batcher, storage, metrics), lambda: metrics.database_is_away
    )
    policy = RetentionPolicy(settings.job_retention, settings.max_artifact_bytes)
    retention = asyncio.create_task(enforce_regularly(jobs.get, storage, policy, metrics.note_artifact_bytes))
    try:
        with metrics.watching(jobs.count_now):
            yield jobs
    finally:
        retention.cancel()
        await asyncio.wait((retention,), timeout=settings.shutdown_timeout)  # it may wait for a database that is gone
        await jobs.close(settings.shutdown_timeout)


def _pictures_at_work(settings: Settings, models: ModelRepository) -> int:
    """Of all streams: what keeps the engine and the threads busy. More would only wait, and grow old."""
    busy = settings.workers + 2 * max(model.batch_limit for model in models)
    return max(1, min(busy, settings.queue_size // 2))


def _warm_up(models: ModelRepository) -> None:
    for model in models:
        model.warm_up()


def _stop(batcher: Batcher, workers: Workers, served: ServedModels, timeout: float) -> None:
    stopped = batcher.close(timeout)
    workers.close()
    if stopped:  # an engine that still runs a call must not be taken from under it
        served.current.close()
