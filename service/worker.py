"""A process that works on video jobs: models, the queue in front of the engine, and the queue of jobs; no HTTP."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress

from service import logs
from service.batching import Batcher
from service.jobs.start import open_queue
from service.jobs.storage import Storage
from service.models import ModelRepository, load_models
from service.process import tune_process
from service.reload import ServedModels
from service.settings import PREFIX, Settings, SettingsError

_IDLE_SECONDS = 3600.0  # a job under way writes something far more often


def work_forever(settings: Settings, models: ModelRepository | None = None) -> None:
    """Work until SIGTERM or SIGINT; jobs under way are let go of at their next frame, for others to take up.

    Args:
        settings: all of them.
        models: what to look at frames with; loaded as the settings say if None.

    Raises:
        YaopError: a model cannot be loaded, or the database or data folder cannot be used.
    """
    if settings.job_concurrency == 0:
        raise SettingsError(f"{PREFIX}JOB_CONCURRENCY=0: a worker that works on nothing is of no use")
    tune_process()
    logs.configure(settings.log_level, settings.log_format)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    repository = models or load_models(settings)
    served = ServedModels(repository, lambda replaced: replaced.close())
    batcher = Batcher(settings.queue_size, lanes=repository.lanes)
    try:
        storage = Storage(settings.artifacts_url, settings.data_dir)
        with suppress(OSError):  # what workers that were killed have left; an unusable folder is told of below
            storage.drop_idle_scratch(_IDLE_SECONDS)
        queue = open_queue(settings, served.use, batcher, storage)
        sys.stdout.write("YAOP is working on video jobs. Stop it with Ctrl-C.\n")
        sys.stdout.flush()
        stopped.wait()
        queue.close(settings.shutdown_timeout)
    finally:
        batcher.close(settings.shutdown_timeout)
