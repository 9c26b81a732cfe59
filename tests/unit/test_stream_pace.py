"""How often something may happen: allowances of messages, and the beat of a stream."""

from __future__ import annotations

import pytest

from service.streams.pace import Allowance, Pace


class Clock:
    """Time as the test wants it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_allowance_is_used_up_and_grows_back() -> None:
    clock = Clock()
    allowance = Allowance(3, 2.0, clock)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 0.5
    assert [allowance.take() for _ in range(2)] == [True, False]
    clock.now += 1000
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]


def test_a_pace_is_kept_on_average() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    begun = 0
    for _ in range(1000):
        clock.now += 0.01
        if pace.wait() < 1e-9:
            pace.begin()
            begun += 1
    assert begun == pytest.approx(100, abs=1)


def test_pictures_a_little_apart_from_the_beat_are_all_in_time() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    waits: list[float] = []
    for i in range(100):
        clock.now = 1000 + i / 10 + (0.02 if i % 2 else 0)
        waits.append(pace.wait())
        pace.begin()
    assert max(waits) < 1e-6


def test_who_was_away_does_not_get_a_burst() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    pace.begin()
    clock.now += 100
    pace.begin()
    assert pace.wait() == 0  # one to catch up with
    pace.begin()
    assert pace.wait() == pytest.approx(0.1)


def test_a_hold_lets_nothing_begin() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    pace.hold(0.7)
    assert pace.wait() == pytest.approx(0.7)
    clock.now += 0.7
    assert pace.wait() == pytest.approx(0, abs=1e-9)
