"""What Prometheus sees of video jobs: what this process did, and how many there are in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.jobs.job import FINISHED, JobState
from service.jobs.watch import Watch

JobCounts = Mapping[JobState, int]

_SECONDS_BETWEEN = 5.0


class JobMetrics:
    """Counters of this process, and gauges of the whole database.

    The gauges are absent while the database does not answer: a number that nobody could read would pass for one that
    is true. `yaop_jobs_database_up` tells the difference.

    Args:
        registry: that shows them; None: nobody sees them.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._finished = Counter(
            "yaop_jobs_finished", "Video jobs that this process finished, by how they ended.", ("state",), registry=None
        )
        for state in sorted(FINISHED):
            self._finished.labels(state)  # at 0 from the start, so that rate() sees the first one
        self._frames = Counter("yaop_job_frames", "Frames of videos annotated by this process.", registry=None)
        self._counts = _Counts()
        self._bytes = _Bytes()
        if registry is not None:
            for collector in (self._finished, self._frames, self._counts, self._bytes):
                registry.register(collector)

    def count_finished(self, state: JobState) -> None:
        """One more job has ended in this process."""
        self._finished.labels(state).inc()

    def count_frame(self) -> None:
        """One more frame is annotated."""
        self._frames.inc()

    def note_artifact_bytes(self, count: int) -> None:
        """All files of jobs have so many bytes."""
        self._bytes.value = count

    @property
    def database_answers(self) -> bool:
        """Whether the counts could be read lately."""
        return self._counts.latest is not None

    @property
    def database_is_away(self) -> bool:
        """Whether the counts could not be read lately. Before the first try neither this nor the other is so."""
        return self._counts.watch is not None and self._counts.watch.failed

    @contextmanager
    def watching(self, read: Callable[[], JobCounts | None], seconds: float = _SECONDS_BETWEEN) -> Iterator[None]:
        """Read the counts of jobs every few seconds until the end of the block (None: they are not known yet)."""
        watch = self._counts.watch = Watch(read, seconds)
        try:
            yield
        finally:
            watch.close()
            self._counts.watch = None


class _Counts(Collector):
    """Gauges that are there when the database answers."""

    def __init__(self) -> None:
        self.watch: Watch[JobCounts] | None = None

    @property
    def latest(self) -> JobCounts | None:
        """How many jobs there are."""
        return self.watch.latest if self.watch is not None else None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is known now."""
        counts = self.latest
        up = GaugeMetricFamily("yaop_jobs_database_up", "1 while the database of the jobs answers, else 0.")
        if self.watch is not None:  # a process that is to have no jobs has no database that could be away
            up.add_metric((), int(counts is not None))
        queued = GaugeMetricFamily("yaop_jobs_queued", "Video jobs that wait, in the whole database.")
        running = GaugeMetricFamily("yaop_jobs_running", "Video jobs that are worked on, in the whole database.")
        if counts is not None:
            queued.add_metric((), counts["queued"])
            running.add_metric((), counts["running"])
        yield from (up, queued, running)


class _Bytes(Collector):
    """A gauge that is there once it was measured."""

    def __init__(self) -> None:
        self.value: int | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is known now."""
        family = GaugeMetricFamily(
            "yaop_artifact_bytes", "Bytes of all files of video jobs; measured every five minutes."
        )
        if self.value is not None:
            family.add_metric((), self.value)
        yield family
