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

disable_created_metrics()  # a time stamp beside every series, which nobody asks for

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters, gauges and histograms of the service, all named ``yaop_*``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._watched: dict[str, Gauge] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = self._counter("requests", "HTTP requests answered.", "method", "route", "status")
        self.request_seconds = self._seconds("request_seconds", "From the first byte in to the last out.", "route")
        self.in_flight = Gauge("yaop_requests_in_flight", "HTTP requests being answered.", registry=self.registry)
        self.pictures = self._counter("pictures", "Pictures estimated, or the problem they got.", "model", "outcome")
        self.people = self._counter("people", "People found.", "model")
        self.stream_pictures = self._counter(
            "stream_pictures", "Pictures of streams: done, skipped, or the problem they got.", "outcome"
        )
        self.stream_ends = self._counter("stream_ends", "Streams that ended, by close code.", "code")
        self.phase_seconds = self._seconds("phase_seconds", "Time of one picture in each phase.", "phase")
        self.engine_seconds = self._seconds("engine_call_seconds", "Time of one engine call.")
        self.batch_size = Histogram(
            "yaop_batch_size", "Pictures in one engine call.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Export the gauge ``yaop_<name>``, whose value is read when asked for."""
        gauge = self._watched.get(name)
        if gauge is None:
            gauge = self._watched[name] = Gauge(f"yaop_{name}", text, registry=self.registry)
        gauge.set_function(read)

    def ran_batch(self, size: int, seconds: float) -> None:
        """Count one engine call (the batcher's observer)."""
        self.batch_size.observe(size)
        self.engine_seconds.observe(seconds)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"yaop_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"yaop_{name}", text, labels, buckets=_SECONDS, registry=self.registry)
