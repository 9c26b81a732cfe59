"""What an application holds while it runs, in one object that the routes get at through `service.api.deps`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.batching import Batcher
from service.metrics import Metrics
from service.models import ModelRepository
from service.pipeline import Pipeline
from service.reload import Reloader, ServedModels
from service.settings import Settings
from service.workers import Workers


@dataclass(frozen=True)
class Runtime:
    """The running parts of one application."""

    settings: Settings
    served: ServedModels
    reloader: Reloader
    batcher: Batcher
    workers: Workers
    metrics: Metrics
    pipeline: Pipeline


@asynccontextmanager
async def running(settings: Settings, models: ModelRepository, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Warm the models up, start the threads; at the end let what is queued finish, then stop everything."""
    await asyncio.to_thread(_warm_up, models)
    batcher = Batcher(settings.queue_size, metrics)
    workers = Workers(settings.workers, settings.queue_size)
    metrics.watch("queue_depth", "Network inputs waiting for the engine.", lambda: batcher.depth)
    metrics.watch("pictures_in_progress", "Pictures admitted and not yet answered.", lambda: workers.admitted)
    pipeline = Pipeline(workers, batcher, metrics, deadline=settings.deadline, max_pixels=settings.max_pixels)
    # On the engine's thread, so that no engine is taken from under a call whose request has been given up.
    served = ServedModels(models, lambda replaced: batcher.run_between_calls(replaced.close))
    try:
        yield Runtime(settings, served, Reloader(settings, served), batcher, workers, metrics, pipeline)
    finally:
        await asyncio.to_thread(_stop, batcher, workers, served, settings.shutdown_timeout)


def _warm_up(models: ModelRepository) -> None:
    for model in models:
        model.warm_up()


def _stop(batcher: Batcher, workers: Workers, served: ServedModels, timeout: float) -> None:
    stopped = batcher.close(timeout)
    workers.close()
    if stopped:  # an engine that still runs a call must not be taken from under it
        served.current.close()
