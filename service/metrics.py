"""What Prometheus sees. One registry for each application, so that tests and embedders never share counters."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from service.jobs.metrics import JobMetrics

disable_created_metrics()  # a time stamp beside every series, which nobody asks for

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class ProcessMetrics:
    """What every process with an engine exports, all named ``yaop_*``: that is all that a worker has.

    Attributes:
        registry: of all of it.
        labels: names of the labels of each metric whose series come with what happens.
        jobs: those of video jobs.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.labels: dict[str, tuple[str, ...]] = {}
        self._gauges: dict[str, Gauge] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.jobs = JobMetrics(self.registry)
        self.engine_seconds = self._seconds("engine_call_seconds", "Time of one engine call.")
        self.batch_size = Histogram(
            "yaop_batch_size", "Pictures in one engine call.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self._gauge("queue_depth", "Network inputs waiting for the engine.")

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Have the value of the gauge ``yaop_<name>`` read when it is asked for."""
        self._gauges[name].set_function(read)

    def ran_batch(self, size: int, seconds: float) -> None:
        """Count one engine call (the batcher's observer)."""
        self.batch_size.observe(size)
        self.engine_seconds.observe(seconds)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        gauge = self._gauges[name] = Gauge(f"yaop_{name}", text, registry=self.registry)
        return gauge

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.labels[f"yaop_{name}"] = labels
        return Counter(f"yaop_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        self.labels[f"yaop_{name}"] = labels
        return Histogram(f"yaop_{name}", text, labels, buckets=_SECONDS, registry=self.registry)


class Metrics(ProcessMetrics):
    """Those of the service."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = self._counter("requests", "HTTP requests answered.", "method", "route", "status")
        self.request_seconds = self._seconds("request_seconds", "From the first byte in to the last out.", "route")
        self.in_flight = self._gauge("requests_in_flight", "HTTP requests being answered.")
        self.pictures = self._counter("pictures", "Pictures estimated, or the problem they got.", "model", "outcome")
        self.people = self._counter("people", "People found.", "model")
        self.stream_pictures = self._counter(
            "stream_pictures", "Pictures of streams: done, skipped, or the problem they got.", "outcome"
        )
        self.stream_ends = self._counter("stream_ends", "Streams that ended, by close code.", "code")
        self.phase_seconds = self._seconds("phase_seconds", "Time of one picture in each phase.", "phase")
        self._gauge("pictures_in_progress", "Pictures admitted and not yet answered.")
        self._gauge("streams", "Live streams.")
        self.queue_limit = self._gauge("queue_limit", "Most pictures in progress (YAOP_QUEUE_SIZE); more get a 503.")
        self.artifact_limit = self._gauge(
            "artifact_limit_bytes", "Most bytes of files of video jobs (YAOP_MAX_ARTIFACT_BYTES)."
        )
