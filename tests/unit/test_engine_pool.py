"""Engines that run side by side."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from service.engine_pool import EnginePool
from tests.fake_engine import DiscEngine, discs, person_at

PICTURE = discs(256, 192, person_at(120, 100))[None]


def test_calls_one_after_the_other_share_an_engine_and_closing_frees_it() -> None:
    loaded: list[DiscEngine] = []

    def load() -> DiscEngine:
        loaded.append(DiscEngine())
        return loaded[-1]

    pool = EnginePool(load)
    answers = [pool.pose(PICTURE) for _ in range(3)]
    assert len(loaded) == 1
    np.testing.assert_array_equal(answers[0].peaks, answers[2].peaks)
    pool.close()
    assert loaded[0].closed


def test_calls_at_the_same_time_have_an_engine_each() -> None:
    loaded: list[DiscEngine] = []

    def load() -> DiscEngine:
        engine = DiscEngine()
        engine.gate.clear()
        loaded.append(engine)
        return engine

    pool = EnginePool(load)
    threads = [threading.Thread(target=pool.pose, args=(PICTURE,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(loaded) < 2 or not all(engine.entered.is_set() for engine in loaded):
        threads[0].join(0.01)
    for engine in loaded:
        engine.gate.set()
    for thread in threads:
        thread.join()
    assert [len(engine.calls) for engine in loaded] == [1, 1]


def test_an_engine_that_failed_is_used_again() -> None:
    engine = DiscEngine()
    engine.failure = ValueError("broken")
    pool = EnginePool(lambda: engine)
    with pytest.raises(ValueError, match="broken"):
        pool.pose(PICTURE)
    engine.failure = None
    assert len(pool.pose(PICTURE).peaks) == 1
