"""The benchmark's numbers on cases counted by hand, and what it must show of the tracker."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tracking.__main__ import compare_trackers
from benchmarks.tracking.metrics import Counts, count
from benchmarks.tracking.scenes import SCENES
from benchmarks.tracking.steadiness import steadiness
from service.tracking.smoothing import SmoothingOptions
from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.skeleton import BODY_18

POSE = np.random.default_rng(0).uniform(0, 100, (18, 2))


def frame(**places: int) -> Tracked:
    """People called ``a1``, ``a2``... with that id, at these places, which are far apart."""
    keypoints = np.zeros((len(places), 18, 3), np.float32)
    for row, place in zip(keypoints, places.values(), strict=True):
        row[:] = np.column_stack([POSE + (1000 * place, 0), np.ones(18)])
    return Tracked(People(keypoints, np.ones(len(places), np.float32)), tuple(int(name[1:]) for name in places))


def test_all_right() -> None:
    counts = count([(frame(a1=0, a2=1), frame(a8=1, a9=0))] * 5, BODY_18)
    assert counts == Counts(truths=10, found=10, kept=10)
    assert counts.idf1 == counts.mota == 1


def test_a_swap_is_two_switches_and_costs_the_shorter_part() -> None:
    truth = frame(a1=0, a2=1)
    frames = [(truth, frame(a1=0, a2=1))] * 6 + [(truth, frame(a2=0, a1=1))] * 4
    counts = count(frames, BODY_18)
    assert counts == Counts(truths=20, found=20, switches=2, kept=12)
    assert counts.idf1 == pytest.approx(0.6)
    assert counts.mota == pytest.approx(0.9)


def test_a_miss_an_extra_and_a_new_id_after_a_gap() -> None:
    seen, gap, extra = frame(a1=0), frame(), frame(a1=0, a5=7)
    truth = frame(a1=0)
    frames = [(truth, seen), (truth, gap), (truth, extra), (truth, frame(a2=0))]
    counts = count(frames, BODY_18)
    assert counts == Counts(truths=4, found=4, misses=1, extras=1, switches=1, kept=2)
    assert counts.idf1 == pytest.approx(0.5)
    assert counts.mota == pytest.approx(0.25)


def test_a_gap_with_the_same_id_after_it_is_no_switch() -> None:
    truth = frame(a1=0)
    assert count([(truth, truth), (frame(), frame()), (truth, truth)], BODY_18).switches == 0


def test_of_two_in_one_place_who_was_matched_stays_matched() -> None:
    both = frame(a1=0, a2=0)
    frames = [(frame(a1=0, a2=1), frame(a1=0, a2=1)), (both, frame(a2=0, a1=0))]
    assert count(frames, BODY_18).switches == 0


def test_what_is_too_far_off_is_a_miss_and_an_extra() -> None:
    counts = count([(frame(a1=0), frame(a1=1))], BODY_18)
    assert (counts.misses, counts.extras, counts.kept) == (1, 1, 0)
    assert counts.mota == -1


def test_nobody_there_and_nobody_found_is_no_error() -> None:
    assert count([(frame(), frame())], BODY_18) == Counts()


@pytest.mark.parametrize(
    ("scene", "least"),
    [
        ("two cross", 0.9),
        ("two cross, 6 frames a second", 0.9),
        ("three behind a pillar", 0.9),
        ("five dash about", 0.8),
    ],
)
def test_ids_are_kept_where_boxes_alone_lose_them(scene: str, least: float) -> None:
    sequences = [SCENES[scene](generator).play(generator) for generator in map(np.random.default_rng, range(2))]
    boxes, ours = compare_trackers(sequences).values()
    assert ours.idf1 > least
    assert ours.idf1 > boxes.idf1
    assert ours.switches < boxes.switches / 2


def test_smoothing_takes_jitter_away_and_brings_people_nearer_to_the_truth() -> None:
    generator = np.random.default_rng(0)
    sequences = [SCENES["two cross"](generator).play(generator)]
    raw, smoothed = steadiness(sequences, None), steadiness(sequences, SmoothingOptions())
    assert smoothed.jitter < 0.75 * raw.jitter
    assert smoothed.error < raw.error
    assert abs(raw.lag_ms) < 3
    assert 0 < smoothed.lag_ms < 20
