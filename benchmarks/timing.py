"""Side-by-side timing: the candidates take turns, so that a slow spell of the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Wall times of one candidate in milliseconds."""

    median: float
    p95: float
    runs: int


def side_by_side(candidates: Mapping[str, Callable[[], object]], runs: int = 30, warm_up: int = 3) -> dict[str, Timing]:
    """Time each candidate `runs` times, in turns, after `warm_up` untimed calls of each."""
    for call in candidates.values():
        for _ in range(warm_up):
            call()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(runs):
        for name, call in candidates.items():
            begin = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - begin) * 1000)
    return {name: summarise(values) for name, values in times.items()}


def summarise(values: list[float]) -> Timing:
    """Of measured milliseconds, at least one."""
    ordered = sorted(values)
    return Timing(statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))], len(ordered))
