"""What is counted of a stream, for the metrics and for its line in the access log."""

from __future__ import annotations

import logging
import time

from service.metrics import Metrics
from service.streams.closing import CloseCode
from service.streams.messages import PATH

logger = logging.getLogger("service.access")

_OTHER_CODES = frozenset({1001, 1002, 1003, 1005, 1006, 1007})
_KNOWN_CODES = _OTHER_CODES | frozenset(map(int, CloseCode))


class Record:
    """Of one stream, from now on.

    Args:
        metrics: of the application.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started = time.monotonic()
        self._done = 0
        self._failed = 0

    def done(self) -> None:
        """A picture got its result."""
        self._done += 1
        self._metrics.stream_pictures.labels("done").inc()

    def failed(self, kind: str) -> None:
        """A picture got this problem."""
        self._failed += 1
        self._metrics.stream_pictures.labels(kind).inc()

    def skipped(self, count: int) -> None:
        """So many pictures were passed over."""
        self._metrics.stream_pictures.labels("skipped").inc(count)

    def end(self, code: int, reason: str, dropped: int) -> None:
        """The stream is over; in all so many pictures were passed over."""
        # Clients may close with any code: one that makes them up must not make up time series.
        self._metrics.stream_ends.labels(str(int(code)) if code in _KNOWN_CODES else "other").inc()
        fields = {
            "path": PATH,
            "code": int(code),
            "reason": reason,
            "seconds": round(time.monotonic() - self._started, 3),
            "pictures": self._done,
            "failed": self._failed,
            "dropped": dropped,
        }
        logger.info("stream", extra=fields)
