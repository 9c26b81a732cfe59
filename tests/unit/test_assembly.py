from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.assembly import AssemblyOptions, People, assemble, redundant_limbs
from shared.skeleton import BODY_18

SLOTS = 32
TRUE_LIMB = 0.6
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]

NOSE, NECK = BODY_18.index("nose"), BODY_18.index("neck")
RIGHT_SHOULDER, LEFT_SHOULDER = BODY_18.index("right_shoulder"), BODY_18.index("left_shoulder")
RIGHT_EAR, RIGHT_EYE = BODY_18.index("right_ear"), BODY_18.index("right_eye")


def limb_index(first: int, second: int) -> int:
    return BODY_18.limbs.index((first, second))


def arrays_of(
    people: NDArray[np.float32], generator: np.random.Generator, limb_score: float = TRUE_LIMB, noise: float = 0.0
) -> Arrays:
    """What a decoder says of people ``[N, 18, 3]``: slots in random order and every true limb.

    With `noise` the wrong limbs between people who both have the right one score too, but less.
    """
    peaks = np.zeros((18, SLOTS, 3), np.float32)
    slots = np.stack([generator.permutation(SLOTS)[: len(people)] for _ in range(18)], axis=1)
    for keypoints, own in zip(people, slots, strict=True):
        peaks[np.arange(18), own] = keypoints
    limbs = np.zeros((19, SLOTS, SLOTS), np.float32)
    for limb, (first, second) in enumerate(BODY_18.limbs):
        whole = np.flatnonzero((people[:, first, 2] > 0) & (people[:, second, 2] > 0))
        rows, columns = slots[whole, first], slots[whole, second]
        limbs[limb][np.ix_(rows, columns)] = noise * generator.random((len(whole), len(whole)))
        limbs[limb, rows, columns] = limb_score + 0.3 * generator.random(len(whole))
    return peaks, limbs


def visible(generator: np.random.Generator, count: int) -> list[int]:
    """`count` keypoints that hang together by limbs other than the redundant ones."""
    tree = [limb for i, limb in enumerate(BODY_18.limbs) if i not in redundant_limbs(BODY_18)]
    chosen = {int(generator.integers(18))}
    while len(chosen) < count:
        border = [limb for limb in tree if len(chosen & set(limb)) == 1]
        chosen |= set(border[generator.integers(len(border))])
    return sorted(chosen)


def crowd(generator: np.random.Generator, number: int, fewest: int = 3) -> NDArray[np.float32]:
    """People ``[number, 18, 3]`` in random poses, some keypoints missing."""
    people = np.zeros((number, 18, 3), np.float32)
    for person in people:
        seen = visible(generator, int(generator.integers(fewest, 19)))
        place = generator.random(2) * 2000
        person[seen, :2] = place + generator.random((len(seen), 2)) * 200
        person[seen, 2] = 0.3 + 0.7 * generator.random(len(seen))
    return people


def as_set(people: NDArray[np.float32]) -> set[bytes]:
    return {person.astype(np.float32).tobytes() for person in people}


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 20), noise=st.sampled_from([0.0, 0.5]))
def test_every_person_is_recovered_exactly(seed: int, number: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    people = crowd(generator, number)
    options = AssemblyOptions(max_similarity=1.1)
    found = assemble(*arrays_of(people, generator, noise=noise), BODY_18, options)
    assert as_set(found.keypoints) == as_set(people)
    assert len(found.scores) == number


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0, 1), slots=st.integers(1, 8))
def test_any_input_gives_people_without_shared_peaks(seed: int, density: float, slots: int) -> None:
    generator = np.random.default_rng(seed)
    peaks = generator.random((18, slots, 3), np.float32)
    limbs = generator.random((19, slots, slots), np.float32) * (generator.random((19, slots, slots)) < density)
    people = assemble(peaks, limbs.astype(np.float32), BODY_18)
    for found in people.keypoints.transpose(1, 0, 2):
        present = found[found[:, 2] > 0]
        assert len(np.unique(present, axis=0)) == len(present)
    assert (np.diff(people.scores) <= 0).all()
    assert ((people.scores >= 0) & (people.scores <= 1)).all()


def test_all_ones_do_not_crash() -> None:
    people = assemble(np.ones((18, SLOTS, 3), np.float32), np.ones((19, SLOTS, SLOTS), np.float32), BODY_18)
    assert len(people.scores) == 1  # all of them lie on each other


def test_nobody() -> None:
    people = assemble(np.zeros((18, SLOTS, 3), np.float32), np.zeros((19, SLOTS, SLOTS), np.float32), BODY_18)
    assert people.keypoints.shape == (0, 18, 3)
    assert people.scores.shape == (0,)
    assert people.keypoints.dtype == people.scores.dtype == np.float32


def test_limbs_between_empty_slots_are_ignored() -> None:
    assert len(assemble(np.zeros((18, 4, 3), np.float32), np.ones((19, 4, 4), np.float32), BODY_18).scores) == 0


def test_peaks_without_limbs_are_left_out() -> None:
    generator = np.random.default_rng(0)
    people = crowd(generator, 2, fewest=18)
    peaks, limbs = arrays_of(people, generator)
    empty = np.flatnonzero(peaks[NOSE, :, 2] == 0)[0]
    peaks[NOSE, empty] = (5, 5, 1)
    assert as_set(assemble(peaks, limbs, BODY_18).keypoints) == as_set(people)


def one_person() -> Arrays:
    """A whole person in slot 0 of each type, with a score of 0.5 everywhere and room for more."""
    peaks = np.zeros((18, 4, 3), np.float32)
    peaks[:, 0] = [(10 * i, 7 * i % 50, 0.5) for i in range(18)]
    limbs = np.zeros((19, 4, 4), np.float32)
    limbs[:, 0, 0] = 0.9
    return peaks, limbs


def test_the_score_is_the_sum_of_squares_over_cocos_keypoints_by_17() -> None:
    peaks, limbs = one_person()
    np.testing.assert_allclose(assemble(peaks, limbs, BODY_18).scores, [0.25])
    peaks[NECK, 0, 2] = 1.0
    np.testing.assert_allclose(assemble(peaks, limbs, BODY_18).scores, [0.25])
    peaks[NOSE, 0, 2] = 0.9
    np.testing.assert_allclose(assemble(peaks, limbs, BODY_18).scores, [(16 * 0.25 + 0.81) / 17], rtol=1e-6)


def test_of_two_limbs_to_one_keypoint_the_better_wins() -> None:
    peaks, limbs = one_person()
    peaks[NOSE, 1] = (99, 99, 0.9)
    limbs[limb_index(NECK, NOSE), 0, 1] = 0.8
    assert assemble(peaks, limbs, BODY_18).keypoints[0, NOSE, 2] == 0.5
    limbs[limb_index(NECK, NOSE), 0, 1] = 0.95
    assert assemble(peaks, limbs, BODY_18).keypoints[0, NOSE, 2] == np.float32(0.9)


def test_redundant_limbs_are_those_from_shoulder_to_ear() -> None:
    assert redundant_limbs(BODY_18) == {17, 18}


def test_a_shoulder_to_ear_limb_brings_a_head_back_to_its_body() -> None:
    peaks, limbs = one_person()
    limbs[limb_index(NECK, NOSE)] = 0
    people = assemble(peaks, limbs, BODY_18)
    assert len(people.scores) == 1
    assert (people.keypoints[0, :, 2] > 0).all()
    limbs[[17, 18]] = 0
    assert len(assemble(peaks, limbs, BODY_18).scores) == 2


def test_a_shoulder_to_ear_limb_does_not_start_a_person() -> None:
    peaks, limbs = one_person()
    limbs[:17] = 0
    assert len(assemble(peaks, limbs, BODY_18, AssemblyOptions(min_keypoints=1)).scores) == 0


def test_people_with_a_keypoint_in_common_are_not_merged() -> None:
    peaks, limbs = one_person()
    peaks[:, 1] = peaks[:, 0] + [1000, 0, 0]
    limbs[:, 1, 1] = 0.9
    limbs[17, 0, 0] = limbs[17, 1, 1] = 0
    limbs[17, 0, 1] = 0.99  # the right shoulder of one to the right ear of the other
    people = assemble(peaks, limbs, BODY_18)
    assert len(people.scores) == 2
    assert np.ptp(people.keypoints[..., 0], axis=1).max() < 1000


def test_the_better_of_two_conflicting_redundant_limbs_wins() -> None:
    peaks, limbs = one_person()
    limbs[limb_index(NECK, NOSE)] = 0
    peaks[:, 1] = peaks[:, 0] + [1000, 0, 0]  # a second head
    head = [limb for limb, ends in enumerate(BODY_18.limbs) if set(ends) <= {NOSE, RIGHT_EYE, RIGHT_EAR, 15, 17}]
    limbs[head, 1, 1] = 0.9
    limbs[[17, 18]] = 0
    limbs[17, 0, 0] = 0.5
    limbs[18, 0, 1] = 0.7
    people = assemble(peaks, limbs, BODY_18)
    assert people.keypoints[0, NOSE, 0] >= 1000
    assert people.keypoints[1, NOSE, 0] < 1000
    assert people.keypoints[1, NECK, 2] == 0


def test_fragments_are_pruned() -> None:
    peaks, limbs = one_person()
    limbs[:] = 0
    limbs[limb_index(NOSE, RIGHT_EYE), 0, 0] = limbs[limb_index(RIGHT_EYE, RIGHT_EAR), 0, 0] = 0.9
    assert len(assemble(peaks, limbs, BODY_18).scores) == 1
    assert len(assemble(peaks, limbs, BODY_18, AssemblyOptions(min_keypoints=4)).scores) == 0
    assert len(assemble(peaks, limbs, BODY_18, AssemblyOptions(min_person_score=0.1)).scores) == 0
    assert len(assemble(peaks, limbs, BODY_18, AssemblyOptions(min_limb_score=0.95)).scores) == 0
    assert len(assemble(peaks, limbs, BODY_18, AssemblyOptions(min_peak_score=0.5)).scores) == 0


def test_near_copies_are_dropped_and_neighbours_kept() -> None:
    peaks, limbs = one_person()
    limbs[:, 1, 1] = 0.9
    peaks[:, 1] = peaks[:, 0] + [2, 1, -0.1]
    people = assemble(peaks, limbs, BODY_18)
    np.testing.assert_allclose(people.scores, [0.25])
    peaks[:, 1] = peaks[:, 0] + [60, 0, -0.1]
    np.testing.assert_allclose(assemble(peaks, limbs, BODY_18).scores, [0.25, 0.16], rtol=1e-6)


def test_a_child_in_front_of_an_adult_is_kept() -> None:
    adult, limbs = one_person()
    adult[:, 0, :2] *= 4
    child = adult[:, 0] * [0.2, 0.2, 1] + [100, 40, 0]
    adult[:, 1] = child
    limbs[:, 1, 1] = 0.9
    assert len(assemble(adult, limbs, BODY_18).scores) == 2


def test_the_input_is_not_changed() -> None:
    peaks, limbs = one_person()
    before = peaks.copy(), limbs.copy()
    assemble(peaks, limbs, BODY_18)
    np.testing.assert_array_equal(peaks, before[0])
    np.testing.assert_array_equal(limbs, before[1])


def test_nobody_has_the_skeletons_shape() -> None:
    assert People.none(BODY_18).keypoints.shape == (0, 18, 3)


@pytest.mark.parametrize("slots", [1, 3])
def test_absent_keypoints_are_all_zero(slots: int) -> None:
    peaks = np.full((18, slots, 3), 7, np.float32)
    limbs = np.zeros((19, slots, slots), np.float32)
    limbs[[13, 14], 0, 0] = 1
    people = assemble(peaks, limbs, BODY_18)
    absent = [i for i in range(18) if i not in (NOSE, RIGHT_EYE, RIGHT_EAR)]
    assert (people.keypoints[0, absent] == 0).all()


def _chain(scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """One person down to the right ankle and the face, whose keypoints have these scores, all limbs certain."""
    peaks = np.zeros((18, 2, 3), np.float32)
    peaks[: len(scores), 0] = [(10.0 * kind, 20.0, score) for kind, score in enumerate(scores)]
    limbs = np.zeros((19, 2, 2), np.float32)
    for limb, (first, second) in enumerate(BODY_18.limbs):
        limbs[limb, 0, 0] = float(max(first, second) < len(scores))
    return peaks, limbs


def test_doubtful_peaks_extend_a_person_that_sure_ones_begin() -> None:
    people = assemble(*_chain([0.9, 0.9, 0.9, 0.9, 0.05, 0.9]), BODY_18)
    assert len(people.scores) == 1
    assert people.keypoints[0, BODY_18.index("right_wrist"), 2] == pytest.approx(0.05)


def test_doubtful_peaks_alone_begin_nobody() -> None:
    assert len(assemble(*_chain([0.09] * 8), BODY_18).scores) == 0


def test_a_doubtful_peak_does_not_take_a_sure_ones_place() -> None:
    """Two wrists answer to one elbow: the doubtful one's limb scores higher, and the sure one still gets it."""
    peaks, limbs = _chain([0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    wrist, limb = BODY_18.index("right_wrist"), BODY_18.limbs.index((3, 4))
    peaks[wrist, 1] = (99, 99, 0.05)
    limbs[limb, 0] = (0.6, 0.9)
    people = assemble(peaks, limbs, BODY_18)
    assert people.keypoints[0, wrist, 2] == pytest.approx(0.9)


def test_fragments_of_sure_peaks_are_left_to_people_with_more_of_them() -> None:
    """Three sure keypoints are no person yet while others of the same person are doubtful: all come out as one."""
    people = assemble(*_chain([0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2]), BODY_18)
    assert len(people.scores) == 1
    assert (people.keypoints[0, :7, 2] > 0).all()
