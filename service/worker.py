"""A process that works on video jobs: models, the queue in front of the engine, and the queue of jobs."""

from __future__ import annotations

import contextlib
import signal
import sys
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from service import logs
from service.batching import Batcher
from service.jobs.start import open_queue
from service.jobs.storage import Storage
from service.metrics import ProcessMetrics
from service.models import ModelRepository, load_models
from service.process import tune_process
from service.reload import ServedModels
from service.settings import PREFIX, Settings, SettingsError
from service.worker_port import State, listening
from shared.signals import STOPS

if TYPE_CHECKING:
    from service.jobs.queue import JobQueue

_ATTENTION_SECONDS = 1.0  # Windows heeds a signal only between two waits
_IDLE_SECONDS = 3600.0  # a job under way writes something far more often


def work_forever(settings: Settings, models: ModelRepository | None = None) -> None:
    """Work until SIGTERM or SIGINT; jobs under way are let go of at their next frame, for others to take up.

    Args:
        settings: all of them.
        models: what to look at frames with; loaded as the settings say if None.

    Raises:
        YaopError: a model cannot be loaded, or the port, the database or the data folder cannot be used.
    """
    if settings.job_concurrency == 0:
        raise SettingsError(f"{PREFIX}JOB_CONCURRENCY=0: a worker that works on nothing is of no use")
    tune_process()
    logs.configure(settings.log_level, settings.log_format)
    work = _Work(settings)
    for number in STOPS:
        signal.signal(number, lambda *_: work.stop())
    with listening(settings, work.metrics, work.state) as url:
        work.run(models or load_models(settings), url)


class _Work:
    """What a worker does, and how far it is."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = ProcessMetrics()
        self._stopping = False
        self._asked: SimpleQueue[None] = SimpleQueue()  # the one thing to wait for that a signal's handler may touch
        self._settings = settings
        self._open = False

    def state(self) -> State:
        """At the moment."""
        if self._stopping:
            return "stopping"
        return "working" if self._open else "starting"

    def stop(self) -> None:
        """Have `run` end."""
        self._stopping = True
        self._asked.put(None)

    def run(self, repository: ModelRepository, url: str | None) -> None:
        """Work until stopped."""
        served = ServedModels(repository, lambda replaced: replaced.close())
        batcher = Batcher(self._settings.queue_size, self.metrics, repository.lanes)
        self.metrics.watch("queue_depth", lambda: batcher.depth)
        try:
            storage = Storage(self._settings.artifacts_url, self._settings.data_dir)
            with contextlib.suppress(OSError):  # what workers that were killed have left; a bad folder is told of below
                storage.drop_idle_scratch(_IDLE_SECONDS)
            queue = open_queue(self._settings, served.use, batcher, storage, self.metrics.jobs)
            self._wait(queue, url)
            queue.close(self._settings.shutdown_timeout)
        finally:
            batcher.close(self._settings.shutdown_timeout)

    def _wait(self, queue: JobQueue, url: str | None) -> None:
        self._open = True
        watching = self.metrics.jobs.watching(queue.count_now) if url else contextlib.nullcontext()
        with watching:
            shown = f" (metrics: {url}/metrics)" if url else ""
            sys.stdout.write(f"YAOP is working on video jobs{shown}. Stop it with Ctrl-C.\n")
            sys.stdout.flush()
            while not self._stopping:
                with contextlib.suppress(Empty):
                    self._asked.get(timeout=_ATTENTION_SECONDS)
