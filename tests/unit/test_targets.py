"""Rendered targets: heatmaps and PAFs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.geometry import cell_to_input
from shared.skeleton import BODY_18
from trainer.data.targets import DEFAULT_OPTIONS, render_targets

SHAPE = (32, 48)
STRIDE = 4
NECK, NOSE, RIGHT_SHOULDER, RIGHT_ELBOW = (
    BODY_18.index(name) for name in ("neck", "nose", "right_shoulder", "right_elbow")
)
UPPER_ARM = BODY_18.limbs.index((RIGHT_SHOULDER, RIGHT_ELBOW))


def _people(*people: dict[int, tuple[float, float]]) -> np.ndarray:
    keypoints = np.zeros((1, len(people), 18, 3), np.float32)
    for person, joints in enumerate(people):
        for joint, xy in joints.items():
            keypoints[0, person, joint] = (*xy, 2)
    return keypoints


def _render(keypoints: np.ndarray, size: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.full(keypoints.shape[:2], size, np.float32)
    heatmaps, pafs = render_targets(keypoints, sizes, SHAPE, STRIDE, BODY_18)
    return np.asarray(heatmaps), np.asarray(pafs)


def test_a_keypoint_at_a_cell_centre_gives_exactly_one_there() -> None:
    xy = cell_to_input(np.array([20.0, 10.0]), STRIDE)
    heatmaps, _ = _render(_people({NOSE: (xy[0], xy[1])}))
    assert heatmaps.shape == (1, *SHAPE, 18)
    assert heatmaps[0, 10, 20, NOSE] == pytest.approx(1.0)
    assert np.unravel_index(heatmaps[0, ..., NOSE].argmax(), SHAPE) == (10, 20)


def test_the_centroid_of_a_gaussian_is_the_keypoint_to_a_tenth_of_a_pixel() -> None:
    heatmaps, _ = _render(_people({NOSE: (83.3, 47.9)}))
    weights = heatmaps[0, ..., NOSE]
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centroid = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
    np.testing.assert_allclose(cell_to_input(centroid, STRIDE), [83.3, 47.9], atol=0.1)


def test_keypoints_that_are_absent_leave_their_channel_empty() -> None:
    heatmaps, pafs = _render(_people({NOSE: (80, 40)}))
    assert heatmaps[..., [k for k in range(18) if k != NOSE]].max() == 0
    assert np.abs(pafs).max() == 0, "a limb with one end has no field"


def test_two_people_merge_by_maximum_and_not_by_sum() -> None:
    heatmaps, _ = _render(_people({NOSE: (80, 40)}, {NOSE: (82, 40)}))
    assert heatmaps.max() <= 1.0


def test_a_paf_is_the_unit_vector_from_first_to_second_keypoint_on_the_limb_and_zero_off_it() -> None:
    _, pafs = _render(_people({RIGHT_SHOULDER: (40, 30), RIGHT_ELBOW: (100, 110)}))
    field = pafs[0, ..., 2 * UPPER_ARM : 2 * UPPER_ARM + 2]
    middle = (int(70 / STRIDE), int(70 / STRIDE))
    np.testing.assert_allclose(field[middle], [0.6, 0.8], atol=1e-5)
    lengths = np.linalg.norm(field, axis=-1)
    assert set(np.round(np.unique(lengths), 4)) == {0.0, 1.0}
    assert lengths[0, 0] == 0


def test_pafs_are_averaged_where_limbs_of_one_type_cross() -> None:
    across = {RIGHT_SHOULDER: (30.0, 62.0), RIGHT_ELBOW: (130.0, 62.0)}
    down = {RIGHT_SHOULDER: (78.0, 10.0), RIGHT_ELBOW: (78.0, 110.0)}
    _, pafs = _render(_people(across, down))
    field = pafs[0, ..., 2 * UPPER_ARM : 2 * UPPER_ARM + 2]
    np.testing.assert_allclose(field[15, 19], [0.5, 0.5], atol=1e-5)


def test_a_limb_without_length_gives_no_field_and_no_nan() -> None:
    _, pafs = _render(_people({RIGHT_SHOULDER: (40, 30), RIGHT_ELBOW: (40, 30)}))
    assert np.isfinite(pafs).all()
    assert np.abs(pafs).max() == 0


def test_a_larger_person_gets_a_wider_gaussian() -> None:
    small, _ = _render(_people({NOSE: (80, 40)}), size=60)
    large, _ = _render(_people({NOSE: (80, 40)}), size=300)
    assert large.sum() > 4 * small.sum()


def _crowd(people: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keypoints = np.zeros((2, people, 18, 3), np.float32)
    keypoints[..., :2] = rng.uniform(-20, 220, (2, people, 1, 2)) + rng.normal(0, 30, (2, people, 18, 2))
    keypoints[..., 2] = rng.integers(0, 3, (2, people, 18))
    keypoints[0, 0, RIGHT_SHOULDER] = (60, 30, 2)
    keypoints[0, 0, RIGHT_ELBOW] = (60, 90, 2)  # an upright limb
    keypoints[0, 1, RIGHT_SHOULDER] = (20, 62, 2)
    keypoints[0, 1, RIGHT_ELBOW] = (120, 62, 2)  # a level one
    return keypoints, rng.uniform(30, 400, (2, people)).astype(np.float32)


def _expected_vector(keypoints: np.ndarray, sizes: np.ndarray, limb: tuple[int, int], cell: np.ndarray) -> np.ndarray:
    """The PAF of one limb at one point, word by word: mean direction of the limbs whose rectangle holds it."""
    found = list[np.ndarray]()
    for person, size in zip(keypoints.astype(float), sizes, strict=True):
        first, second = person[limb[0]], person[limb[1]]
        along = second[:2] - first[:2]
        length = np.hypot(*along)
        width = np.clip(size * DEFAULT_OPTIONS.limb_half_width, *DEFAULT_OPTIONS.limb_bounds)
        unit, offset = along / length, cell - first[:2]
        position, distance = offset @ unit, abs(offset[0] * unit[1] - offset[1] * unit[0])
        inside = -width / 2 <= position <= length + width / 2 and distance <= width
        if first[2] > 0 and second[2] > 0 and inside:
            found.append(unit)
    return np.mean(found, axis=0) if found else np.zeros(2)


def test_a_crowds_pafs_are_at_each_cell_what_their_definition_says() -> None:
    keypoints, sizes = _crowd(6, seed=1)
    _, pafs = render_targets(keypoints, sizes, SHAPE, STRIDE, BODY_18)
    pafs, wrong, full = np.asarray(pafs), 0, 0
    for limb in (UPPER_ARM, 0, 12):
        for row, column in np.ndindex(SHAPE):
            cell = cell_to_input(np.array([column, row], float), STRIDE)
            expected = _expected_vector(keypoints[0], sizes[0], BODY_18.limbs[limb], cell)
            full += bool(expected.any())
            wrong += not np.allclose(pafs[0, row, column, 2 * limb : 2 * limb + 2], expected, atol=1e-4)
    assert full > 100
    assert wrong <= 1, "but for a cell that rounding puts on the other side of an edge"


def test_a_crowds_heatmaps_are_at_each_cell_what_their_definition_says() -> None:
    keypoints, sizes = _crowd(6, seed=2)
    heatmaps, _ = render_targets(keypoints, sizes, SHAPE, STRIDE, BODY_18)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x, y = cell_to_input(columns.astype(float), STRIDE), cell_to_input(rows.astype(float), STRIDE)
    sigma = np.clip(sizes[1] * DEFAULT_OPTIONS.sigma, *DEFAULT_OPTIONS.sigma_bounds)
    for k in (NOSE, NECK):
        expected = np.zeros(SHAPE)
        for person, width in zip(keypoints[1], sigma, strict=True):
            squared = (x - person[k, 0]) ** 2 + (y - person[k, 1]) ** 2
            expected = np.maximum(expected, (person[k, 2] > 0) * np.exp(-squared / (2 * width**2)))
        np.testing.assert_allclose(np.asarray(heatmaps)[1, ..., k], expected, atol=1e-5)


def test_jax_renders_what_tensorflow_renders(tmp_path: Path) -> None:
    keypoints, sizes = _crowd(4, seed=3)
    script = f"""
import jax, numpy as np
from shared.skeleton import BODY_18
from trainer.data.targets import render_targets
given = np.load("given.npz")
render = jax.jit(lambda keypoints, sizes: render_targets(keypoints, sizes, {SHAPE}, {STRIDE}, BODY_18))
heatmaps, pafs = render(given["keypoints"], given["sizes"])
np.savez("rendered.npz", heatmaps=heatmaps, pafs=pafs)
"""
    np.savez(tmp_path / "given.npz", keypoints=keypoints, sizes=sizes)
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    rendered = np.load(tmp_path / "rendered.npz")
    heatmaps, pafs = render_targets(keypoints, sizes, SHAPE, STRIDE, BODY_18)
    np.testing.assert_allclose(rendered["heatmaps"], heatmaps, atol=1e-5)
    assert (np.abs(rendered["pafs"] - np.asarray(pafs)) > 1e-4).sum() <= 4
