"""Synthetic people drawn as perfect fields come out of decoder and assembly as they went in."""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.assembly import People, assemble, redundant_limbs
from shared.skeleton import BODY_18
from trainer.data.targets import TargetOptions, render_targets
from trainer.decoding import decode

STRIDE = 4
SHAPES = ((384, 512), (512, 512), (512, 384))
LEAST_DISTANCE = 4 * STRIDE
PARALLEL = np.cos(np.radians(30))
OPTIONS = TargetOptions()
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is not a simpler crowd
Array = NDArray[np.floating]

# An upright person of height 1 about the hips: right side at negative x.
_STANDING = {
    "nose": (0, -0.46), "neck": (0, -0.33), "right_shoulder": (-0.1, -0.32), "right_elbow": (-0.15, -0.17),
    "right_wrist": (-0.17, -0.02), "left_shoulder": (0.1, -0.32), "left_elbow": (0.15, -0.17),
    "left_wrist": (0.17, -0.02), "right_hip": (-0.07, 0), "right_knee": (-0.08, 0.25), "right_ankle": (-0.08, 0.5),
    "left_hip": (0.07, 0), "left_knee": (0.08, 0.25), "left_ankle": (0.08, 0.5), "right_eye": (-0.03, -0.49),
    "left_eye": (0.03, -0.49), "right_ear": (-0.06, -0.47), "left_ear": (0.06, -0.47),
}  # fmt: skip
STANDING = np.array([_STANDING[name] for name in BODY_18.keypoints])
LIMBS = np.array(BODY_18.limbs)


def random_person(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Keypoints ``[18, 3]`` in random pose, size and place; a third of the people are partly hidden."""
    size, angle = generator.uniform(60, 320), generator.normal(0, 0.5)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pose = STANDING + generator.normal(0, 0.02, (18, 2))
    pose[[3, 4, 6, 7, 9, 10, 12, 13]] += generator.normal(0, 0.07, (8, 2))  # limbs move more than the trunk
    place = generator.uniform(0.1, 0.9, 2) * (shape[1], shape[0])
    person = np.concatenate([size * pose @ rotation.T + place, np.ones((18, 1))], axis=1)
    person[(person[:, :2] < 0).any(axis=1) | (person[:, :2] > (shape[1] - 1, shape[0] - 1)).any(axis=1), 2] = 0
    if generator.random() < 1 / 3:
        person[generator.permutation(18)[: generator.integers(1, 8)], 2] = 0
    return largest_piece(person)


def largest_piece(person: Array) -> Array:
    """The person without the keypoints that no limb joins to the rest of it."""
    group = np.arange(18)
    for limb, (first, second) in enumerate(BODY_18.limbs):
        if limb not in redundant_limbs(BODY_18) and person[first, 2] > 0 and person[second, 2] > 0:
            group[group == group[second]] = group[first]
    members = np.bincount(group, minlength=18)
    return person * (group == members.argmax())[:, None]


def person_size(person: Array) -> float:
    return float(np.ptp(person[person[:, 2] > 0, :2], axis=0).max())


def half_width(person: Array) -> float:
    return float(np.clip(person_size(person) * OPTIONS.limb_half_width, *OPTIONS.limb_bounds))


def share_inside(first: Array, second: Array, reach: float) -> Array:
    """How much of each limb ``[19, 2, 2]`` of one person lies within `reach` of the same limb of another."""
    points = first[:, :1] + np.linspace(0, 1, 21)[:, None] * (first[:, 1:] - first[:, :1])
    along = second[:, 1] - second[:, 0]
    share = ((points - second[:, :1]) * along[:, None]).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)[:, None]
    nearest = second[:, :1] + share.clip(0, 1)[..., None] * along[:, None]
    return (np.linalg.norm(points - nearest, axis=-1) < reach).mean(axis=-1)


def are_apart(one: Array, other: Array) -> bool:
    """Joints of a type 4 strides apart; limbs of a type at most cross.

    Limbs overlap in parallel when they touch at under 30 degrees, or when half of one lies within the other. Half of
    a limb whose other end is hidden must not lie on another's: nothing in the fields would tell whose that is.
    """
    if _stub_on_limb(one, other) or _stub_on_limb(other, one):
        return False
    both = (one[:, 2] > 0) & (other[:, 2] > 0)
    if (np.linalg.norm(one[both, :2] - other[both, :2], axis=-1) < LEAST_DISTANCE).any():
        return False
    first, second = one[LIMBS][both[LIMBS].all(axis=1), :, :2], other[LIMBS][both[LIMBS].all(axis=1), :, :2]
    reach = half_width(one) + half_width(other)
    inside = np.maximum(share_inside(first, second, reach), share_inside(second, first, reach))
    ways = [limb[:, 1] - limb[:, 0] for limb in (first, second)]
    cosine = np.abs((ways[0] * ways[1]).sum(-1)) / (np.linalg.norm(ways[0], axis=-1) * np.linalg.norm(ways[1], axis=-1))
    return not ((inside > 0) & (cosine > PARALLEL) | (inside > 0.5)).any()


def _stub_on_limb(one: Array, other: Array) -> bool:
    """Whether a keypoint of `one` that lost its limb lies on the limb of this type of `other`."""
    whole = (other[LIMBS][..., 2] > 0).all(axis=1)
    reach = half_width(other) + STRIDE
    for end in (0, 1):
        lone = whole & (one[LIMBS[:, end], 2] > 0) & (one[LIMBS[:, 1 - end], 2] == 0)
        stubs = one[LIMBS[lone, end], None, :2].repeat(2, axis=1)
        if (share_inside(stubs, other[LIMBS[lone], :2], reach) > 0).any():
            return True
    return False


def random_crowd(generator: np.random.Generator, number: int, shape: tuple[int, int]) -> Array:
    """Up to `number` people ``[N, 18, 3]`` who are apart from each other in the sense of `are_apart`."""
    people: list[Array] = []
    for _ in range(40 * number):
        person = random_person(generator, shape)
        if (person[:, 2] > 0).sum() >= 3 and all(are_apart(person, other) for other in people):
            people.append(person)
        if len(people) == number:
            break
    return np.array(people).reshape(-1, 18, 3)


def render(people: Array, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    padded = np.zeros((1, 20, 18, 3), np.float32)
    padded[0, : len(people)] = people
    sizes = np.ones((1, 20), np.float32)
    sizes[0, : len(people)] = [person_size(person) for person in people]
    cells = (shape[0] // STRIDE, shape[1] // STRIDE)
    heatmaps, pafs = render_targets(padded, sizes, cells, STRIDE, BODY_18)
    return np.asarray(heatmaps), np.asarray(pafs)


def read(heatmaps: NDArray[np.float32], pafs: NDArray[np.float32]) -> People:
    peaks, limbs = decode(heatmaps, pafs, skeleton=BODY_18, stride=STRIDE)
    return assemble(np.asarray(peaks)[0], np.asarray(limbs)[0], BODY_18)


def furthest(one: Array, other: Array) -> float:
    """Largest distance between two people's keypoints; infinite if one has a keypoint that the other lacks."""
    if ((one[:, 2] > 0) != (other[:, 2] > 0)).any():
        return float("inf")
    present = one[:, 2] > 0
    return float(np.linalg.norm(one[present, :2] - other[present, :2], axis=-1).max())


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 20), shape=st.sampled_from(SHAPES))
def test_rendered_people_are_recovered_within_a_pixel_and_unmixed(
    seed: int, number: int, shape: tuple[int, int]
) -> None:
    people = random_crowd(np.random.default_rng(seed), number, shape)
    found = read(*render(people, shape)).keypoints
    assert len(found) == len(people)
    for person in people:
        assert min(furthest(person, candidate) for candidate in found) < 1.0


@settings(max_examples=15, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 20),
    noise=st.sampled_from([0.05, 0.3, 1.0]),
    blank=st.sampled_from([0.0, 0.5]),
)
def test_overlapping_people_and_noise_degrade_without_a_crash(
    seed: int, number: int, noise: float, blank: float
) -> None:
    generator = np.random.default_rng(seed)
    shape = (256, 256)
    people = np.array([random_person(generator, shape) for _ in range(number)])
    kept = people[(people[..., 2] > 0).sum(axis=1) >= 3]
    heatmaps, pafs = render(kept, shape)
    keep = generator.random(heatmaps.shape[1:3]) >= blank
    noisy = np.clip(heatmaps * keep[None, ..., None] + generator.normal(0, noise, heatmaps.shape), 0, 1)
    found = read(noisy.astype(np.float32), (pafs + generator.normal(0, noise, pafs.shape)).astype(np.float32))
    assert np.isfinite(found.keypoints).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (found.keypoints[..., :2] >= 0).all()
    assert (found.keypoints[..., :2] <= 255).all()


def test_fields_of_ones_do_not_crash() -> None:
    found = read(np.ones((1, 64, 64, 18), np.float32), np.ones((1, 64, 64, 38), np.float32))
    assert np.isfinite(found.keypoints).all()
