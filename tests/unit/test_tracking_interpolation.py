from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.tracking.interpolation import interpolate
from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.skeleton import BODY_18


def tracked(persons: dict[int, tuple[float, float]]) -> Tracked:
    """People by id: the x of all their keypoints, and their score."""
    keypoints = np.zeros((len(persons), 18, 3), np.float32)
    for row, (x, score) in zip(keypoints, persons.values(), strict=True):
        row[:] = (x, 10, score)
    scores = np.array([score for _, score in persons.values()], np.float32)
    return Tracked(People(keypoints, scores), tuple(persons))


def test_who_is_in_both_moves_evenly_whatever_the_order() -> None:
    before, after = tracked({1: (0, 0.9), 2: (100, 0.5)}), tracked({2: (200, 0.9), 1: (40, 0.5)})
    between = interpolate(before, after, 0.25, BODY_18)
    assert between.ids == (1, 2)
    np.testing.assert_allclose(between.people.keypoints[:, 3], [[10, 10, 0.8], [125, 10, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(between.people.scores, [0.8, 0.6], rtol=1e-6)


def test_people_are_best_first() -> None:
    before, after = tracked({1: (0, 0.9), 2: (100, 0.1)}), tracked({1: (0, 0.2), 2: (100, 0.8)})
    assert interpolate(before, after, 0.1, BODY_18).ids == (1, 2)
    assert interpolate(before, after, 0.9, BODY_18).ids == (2, 1)


@pytest.mark.parametrize(("fraction", "ids"), [(0.0, (1,)), (0.49, (1,)), (0.5, (2,)), (1.0, (2,))])
def test_who_is_in_one_is_there_in_the_half_nearer_to_it(fraction: float, ids: tuple[int, ...]) -> None:
    between = interpolate(tracked({1: (10, 0.5)}), tracked({2: (90, 0.5)}), fraction, BODY_18)
    assert between.ids == ids
    assert between.people.keypoints[0, 0, 0] == (10 if ids == (1,) else 90)


@pytest.mark.parametrize(("fraction", "expected"), [(0.4, (0, 10, 0.5)), (0.6, (0, 0, 0))])
def test_a_keypoint_of_one_frame_is_there_in_the_half_nearer_to_it(
    fraction: float, expected: tuple[float, float, float]
) -> None:
    before, after = tracked({1: (0, 0.5)}), tracked({1: (100, 0.5)})
    after.people.keypoints[0, 4] = 0
    keypoints = interpolate(before, after, fraction, BODY_18).people.keypoints[0]
    np.testing.assert_array_equal(keypoints[4], np.array(expected, np.float32))
    assert keypoints[5, 0] == pytest.approx(100 * fraction)


def test_between_nobody_and_nobody_is_nobody() -> None:
    nobody = Tracked(People.none(BODY_18), ())
    between = interpolate(nobody, nobody, 0.3, BODY_18)
    assert between.ids == ()
    assert between.people.keypoints.shape == (0, 18, 3)
    assert between.people.keypoints.dtype == between.people.scores.dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_at_the_ends_it_is_the_frames_themselves(seed: int) -> None:
    generator = np.random.default_rng(seed)
    frames: list[Tracked] = []
    for _ in range(2):
        ids = tuple(generator.permutation(6)[: generator.integers(7)].tolist())
        keypoints = generator.random((len(ids), 18, 3), np.float32) * (generator.random((len(ids), 18, 1)) < 0.7)
        scores = np.sort(generator.random(len(ids), np.float32))[::-1]
        frames.append(Tracked(People(keypoints.astype(np.float32), scores), ids))
    before, after = frames
    for fraction, frame in ((0.0, before), (1.0, after)):
        end = interpolate(before, after, fraction, BODY_18)
        assert end.ids == frame.ids
        np.testing.assert_array_equal(end.people.keypoints, frame.people.keypoints)
        np.testing.assert_array_equal(end.people.scores, frame.people.scores)
