"""What is slow or unreliable is read beside those who ask for it, and is not told once it is old."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from service.jobs.watch import Watch


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_the_value_is_that_of_the_last_reading() -> None:
    values = iter(range(1000))
    watch = Watch(lambda: next(values), 0.02)
    until(lambda: (watch.latest or 0) >= 2)
    watch.close()


def test_there_is_no_value_after_a_failure_until_a_reading_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    away = threading.Event()

    def read() -> int:
        if away.is_set():
            raise OSError("the database is away")
        return 7

    watch = Watch(read, 0.02)
    until(lambda: watch.latest == 7)
    assert not watch.failed
    with caplog.at_level(logging.WARNING):
        away.set()
        until(lambda: watch.latest is None)
        time.sleep(0.2)  # some more failures
    assert watch.latest is None and watch.failed
    assert len(caplog.records) == 1  # it is told once, not every few seconds
    away.clear()
    until(lambda: watch.latest == 7)
    watch.close()


def test_a_reading_that_hangs_holds_nobody_up_and_its_old_value_is_forgotten() -> None:
    go_on, readings = threading.Event(), iter(range(1000))

    def read() -> int:
        count = next(readings)
        if count:
            go_on.wait(60)
        return count

    watch = Watch(read, 0.02)
    until(lambda: watch.latest == 0)
    until(lambda: watch.latest is None and watch.failed)
    begin = time.monotonic()
    watch.close()
    assert time.monotonic() - begin < 5
    go_on.set()
