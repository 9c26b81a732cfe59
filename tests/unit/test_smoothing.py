from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tracking.figures import figure
from service.tracking.smoothing import Smoother, SmoothingOptions
from service.tracking.tracked import Tracked, TrackingStateError
from shared.assembly import People
from shared.skeleton import BODY_18

FPS = 30
POSE = figure(0, 200, 200, 0, 0)
SIZE = math.sqrt(0.26 * 200 * 0.91 * 200)
"""Person size of `POSE`: its box is 0.26 x 0.91 heights, the narrow side counting as a third of the other."""


def person(x: float = 300.0, noise: NDArray[np.float64] | float = 0.0, id_: int = 1) -> Tracked:
    keypoints = np.column_stack([POSE + (x, 100) + noise, np.full(18, 0.7)])[None]
    return Tracked(People(keypoints.astype(np.float32), np.array([0.5], np.float32)), (id_,))


def places(smoother: Smoother, frames: list[Tracked], fps: float = FPS) -> NDArray[np.float32]:
    return np.stack([smoother.update(frame, i / fps).people.keypoints[0] for i, frame in enumerate(frames)])


def test_jitter_at_rest_is_less_than_half() -> None:
    generator = np.random.default_rng(0)
    frames = [person(noise=generator.normal(0, 1, (18, 2))) for _ in range(90)]
    raw = np.stack([frame.people.keypoints[0] for frame in frames])
    smoothed = places(Smoother(BODY_18), frames)
    assert np.diff(smoothed[30:, :, :2], axis=0).std() < 0.5 * np.diff(raw[30:, :, :2], axis=0).std()
    assert np.abs(smoothed[30:, :, :2].mean(axis=0) - raw[30:, :, :2].mean(axis=0)).max() < 0.5


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_lag_in_motion_is_under_a_frame(speed: float) -> None:
    frames = [person(speed * SIZE * i / FPS) for i in range(90)]
    smoothed = places(Smoother(BODY_18), frames)
    behind = frames[-1].people.keypoints[0, :, 0] - smoothed[-1, :, 0]
    assert (behind > 0).all()
    assert behind.max() < speed * SIZE / FPS


def test_it_is_the_filter_of_the_paper() -> None:
    """Steps of one keypoint along x, beside the paper's algorithm 1 in plain numbers."""
    options = SmoothingOptions(min_cutoff=1.3, beta=2.0, derivative_cutoff=0.8)
    xs, times = [300.0, 310.0, 305.0, 340.0, 341.0], [0.0, 0.03, 0.08, 0.1, 0.2]
    size = 0.91 * 200 / math.sqrt(3)  # a third of the length for the width
    expected, velocity = [xs[0]], 0.0
    for i in range(1, len(xs)):
        period = times[i] - times[i - 1]

        def share(cutoff: float, period: float = period) -> float:
            return 1 / (1 + 1 / (2 * math.pi * cutoff) / period)

        velocity += share(options.derivative_cutoff) * ((xs[i] - expected[-1]) / size / period - velocity)
        alpha = share(options.min_cutoff + options.beta * abs(velocity))
        expected.append(alpha * xs[i] + (1 - alpha) * expected[-1])
    smoother = Smoother(BODY_18, options)
    found = [smoother.update(person(x), time).people.keypoints[0, 0, 0] for x, time in zip(xs, times, strict=True)]
    np.testing.assert_allclose(found, np.array(expected) + POSE[0, 0], rtol=1e-5)


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_the_resolution_makes_no_difference(scale: float) -> None:
    generator = np.random.default_rng(0)
    frames = [person(3 * i, generator.normal(0, 2, (18, 2))) for i in range(30)]
    factors = np.array([scale, scale, 1], np.float32)
    scaled = [Tracked(People(f.people.keypoints * factors, f.people.scores), f.ids) for f in frames]
    np.testing.assert_allclose(
        places(Smoother(BODY_18), scaled), places(Smoother(BODY_18), frames) * factors, rtol=1e-4
    )


def test_absent_keypoints_stay_absent_and_do_not_pull_at_those_that_come_back() -> None:
    smoother = Smoother(BODY_18)
    gone = person()
    gone.people.keypoints[0, 4] = 0
    smoother.update(person(), 0.0)
    np.testing.assert_array_equal(smoother.update(gone, 0.03).people.keypoints[0, 4], [0, 0, 0])
    back = smoother.update(person(), 0.06).people.keypoints
    np.testing.assert_allclose(back, person().people.keypoints, rtol=1e-6)


def test_scores_ids_and_the_frame_given_stay_as_they_are() -> None:
    smoother = Smoother(BODY_18)
    smoother.update(person(300, id_=7), 0.0)
    frame = person(320, id_=7)
    before = frame.people.keypoints.copy()
    smoothed = smoother.update(frame, 0.03)
    assert smoothed.ids == (7,)
    np.testing.assert_array_equal(frame.people.keypoints, before)
    np.testing.assert_array_equal(smoothed.people.keypoints[..., 2], before[..., 2])
    np.testing.assert_array_equal(smoothed.people.scores, frame.people.scores)
    assert smoothed.people.keypoints.dtype == np.float32
    assert not np.array_equal(smoothed.people.keypoints, before)


def test_people_are_smoothed_by_id_not_by_place_in_the_list() -> None:
    smoother = Smoother(BODY_18)
    one, two = person(100, id_=1), person(500, id_=2)
    both = People(np.concatenate([one.people.keypoints, two.people.keypoints]), np.ones(2, np.float32))
    smoother.update(Tracked(both, (1, 2)), 0.0)
    turned = smoother.update(Tracked(People(both.keypoints[::-1], both.scores), (2, 1)), 0.03)
    np.testing.assert_allclose(turned.people.keypoints, both.keypoints[::-1], rtol=1e-6)


def test_who_was_away_for_long_begins_anew() -> None:
    smoother = Smoother(BODY_18)
    smoother.update(person(100), 0.0)
    smoother.update(Tracked(People.none(BODY_18), ()), 0.4)
    there = smoother.update(person(900), 0.7).people.keypoints
    np.testing.assert_array_equal(there, person(900).people.keypoints)


def test_the_forgotten_are_not_kept() -> None:
    smoother = Smoother(BODY_18)
    for i in range(100):
        smoother.update(person(100, id_=i + 1), i / FPS)
    assert len(smoother.state()["ids"]) <= 0.5 * FPS + 2


def test_timestamps_that_stand_still_or_go_back_do_no_harm() -> None:
    smoother = Smoother(BODY_18)
    for time in (1.0, 1.0, 0.5, 0.5, 2.0):
        assert np.isfinite(smoother.update(person(100 + time), time).people.keypoints).all()


def test_a_restored_smoother_goes_on_identically() -> None:
    generator = np.random.default_rng(4)
    frames = [person(2 * i, generator.normal(0, 1, (18, 2)), id_=1 + i % 3) for i in range(60)]
    whole, first, second = Smoother(BODY_18), Smoother(BODY_18), Smoother(BODY_18)
    expected = [whole.update(frame, i / FPS).people.keypoints for i, frame in enumerate(frames)]
    for i in range(25):
        first.update(frames[i], i / FPS)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    for i in range(25, 60):
        np.testing.assert_array_equal(second.update(frames[i], i / FPS).people.keypoints, expected[i])
    assert second.state() == whole.state()


def test_a_state_that_is_none_is_refused_and_changes_nothing() -> None:
    smoother = Smoother(BODY_18)
    smoother.update(person(), 0.0)
    before = smoother.state()
    for wrong in ({}, {**before, "xy": [[[1.0, 2.0]]]}):
        with pytest.raises(TrackingStateError, match="not the state of a smoother"):
            smoother.restore(wrong)
    assert smoother.state() == before


def test_time_that_went_back_is_not_counted_twice() -> None:
    straight, back = Smoother(BODY_18), Smoother(BODY_18)
    for time in (0.0, 0.1, 0.2):
        straight.update(person(), time)
        back.update(person(), time)
    back.update(person(), 0.05)
    expected = straight.update(person(310), 0.21).people.keypoints
    assert np.abs(back.update(person(310), 0.21).people.keypoints - expected).max() < 0.2
