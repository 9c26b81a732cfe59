"""Rendered targets: heatmaps, PAFs and the loss mask."""

from __future__ import annotations

import numpy as np
import pytest

from shared.geometry import cell_to_input
from shared.skeleton import BODY_18
from trainer.data.targets import render_mask, render_targets

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


def test_the_mask_is_zero_inside_ignored_regions_and_one_elsewhere() -> None:
    box = [[40, 20], [60, 0], [0, 40]]
    mask = np.asarray(render_mask(np.array([[box]], np.float32), SHAPE, STRIDE))[0, ..., 0]
    assert mask.shape == SHAPE
    assert mask[int(40 / STRIDE), int(70 / STRIDE)] == 0
    assert mask[0, 0] == 1
    assert (mask == 0).sum() == pytest.approx(60 * 40 / STRIDE**2, rel=0.15)


def test_the_mask_follows_a_rotated_region() -> None:
    diamond = [[90, 20], [40, 40], [-40, 40]]
    mask = np.asarray(render_mask(np.array([[diamond]], np.float32), SHAPE, STRIDE))[0, ..., 0]
    assert mask[int(60 / STRIDE), int(90 / STRIDE)] == 0
    assert mask[int(25 / STRIDE), int(60 / STRIDE)] == 1, "inside the diamond's bounding box, outside the diamond"


def test_padding_of_the_region_list_masks_nothing() -> None:
    assert np.asarray(render_mask(np.zeros((1, 5, 3, 2), np.float32), SHAPE, STRIDE)).min() == 1
