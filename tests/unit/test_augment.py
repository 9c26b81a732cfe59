"""Augmentation: picture, keypoints and regions go through one and the same map."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.skeleton import BODY_18
from trainer.data.augment import AugmentOptions, sample_affine, warp_boxes, warp_image, warp_points
from trainer.data.coco import Record, load_records
from trainer.data.pipeline import PipelineOptions, Source, batches, make_sample

SIDE = 128


def _record(boxes: list[list[float]], only_labelled: bool = False, image: Path = Path("unused")) -> Record:
    keypoints = np.zeros((len(boxes), 18, 3), np.float32)
    for person, (x, y, w, h) in enumerate(boxes):
        keypoints[person, :, 0] = np.linspace(x, x + w, 18)
        keypoints[person, :, 1] = np.linspace(y, y + h, 18)
        keypoints[person, :, 2] = 2
    return Record(
        image, keypoints, np.array(boxes, np.float32).reshape(-1, 4), np.zeros((0, 4), np.float32),
        np.ones(18, np.float32), only_labelled,
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), x=st.integers(60, 240), y=st.integers(60, 180))
def test_a_spot_in_the_picture_lands_where_its_keypoint_lands(seed: int, x: int, y: int) -> None:
    picture = np.zeros((240, 300, 3), np.float32)
    cv2.circle(picture, (x, y), 9, (255, 255, 255), -1)
    record = _record([[x - 40.0, y - 40.0, 80.0, 80.0]])
    matrix, _ = sample_affine(record, (300, 240), SIDE, AugmentOptions(), np.random.default_rng(seed))
    warped = warp_image(picture.astype(np.uint8), matrix, SIDE)[..., 0].astype(float)
    warped[warped == 127] = 0  # padding
    expected = warp_points(np.array([x, y], float), matrix)
    radius = 9 * np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if not ((expected > radius + 2) & (expected < SIDE - radius - 3)).all():
        return
    rows, columns = np.mgrid[:SIDE, :SIDE]
    near = np.hypot(columns - expected[0], rows - expected[1]) < radius + 3
    weights = warped * near
    centroid = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
    np.testing.assert_allclose(centroid, expected, atol=0.5)


def test_a_box_and_its_corners_map_alike() -> None:
    matrix = np.array([[0.5, -0.3, 7.0], [0.3, 0.5, -4.0]])
    ((corner, right, down),) = warp_boxes(np.array([[10.0, 20.0, 30.0, 40.0]]), matrix)
    np.testing.assert_allclose(corner, warp_points(np.array([10.0, 20.0]), matrix))
    np.testing.assert_allclose(corner + right + down, warp_points(np.array([40.0, 60.0]), matrix))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(20, 600), height=st.integers(20, 600))
def test_the_drawn_scale_keeps_the_person_within_bounds(seed: int, width: int, height: int) -> None:
    options = AugmentOptions(person_side=(28, 300))
    record = _record([[5.0, 5.0, width, height]])
    matrix, _ = sample_affine(record, (640, 640), SIDE, options, np.random.default_rng(seed))
    person = max(width, height) * np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    assert 28 - 1e-3 <= person <= 300 + 1e-3


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 255, (200, 300, 3), np.uint8))
    return path


def test_a_mirrored_sample_swaps_left_and_right(picture: Path) -> None:
    record = _record([[60, 40, 120, 120]], image=picture)
    options = PipelineOptions(side=SIDE)
    plain = AugmentOptions(rotation=0.0, jitter=0.0, flip=0.0, long_side=(200, 200.001))
    mirrored = AugmentOptions(rotation=0.0, jitter=0.0, flip=1.0, long_side=(200, 200.001))
    a = make_sample(record, plain, options, BODY_18, np.random.default_rng(0))
    b = make_sample(record, mirrored, options, BODY_18, np.random.default_rng(0))
    left, right = BODY_18.index("left_wrist"), BODY_18.index("right_wrist")
    assert a.keypoints[0, left, 0] != pytest.approx(a.keypoints[0, right, 0])
    # The picture slides to stay filled, so compare offsets within the person rather than positions.
    offset_a = a.keypoints[0, left, :2] - a.keypoints[0, right, :2]
    offset_b = b.keypoints[0, right, :2] - b.keypoints[0, left, :2]
    np.testing.assert_allclose(offset_b, offset_a * [-1, 1], atol=1e-3)


def test_batches_are_the_same_for_a_seed_and_go_on_where_a_run_stopped(picture: Path) -> None:
    source = Source([_record([[60, 40, 120, 120]], image=picture)], 1.0, AugmentOptions())
    options = PipelineOptions(side=64, batch=2)
    first = batches([source], options, BODY_18, seed=3)
    again = batches([source], options, BODY_18, seed=3)
    resumed = batches([source], options, BODY_18, seed=3, start=2)
    stream = [next(first) for _ in range(3)]
    for expected in stream:
        np.testing.assert_array_equal(next(again).images, expected.images)
    np.testing.assert_array_equal(next(resumed).keypoints, stream[2].keypoints)
    other = next(batches([source], options, BODY_18, seed=4))
    assert not np.array_equal(other.images, stream[0].images)


def test_people_beyond_the_limit_are_ignored_rather_than_taught_as_background(picture: Path) -> None:
    record = _record([[20 + 40 * i, 40, 30, 90] for i in range(6)], image=picture)
    options = PipelineOptions(side=SIDE, max_people=4)
    sample = make_sample(record, AugmentOptions(), options, BODY_18, np.random.default_rng(0))
    assert sample.keypoints.shape == (4, 18, 3)
    edges = np.abs(sample.ignored[:, 1:]).sum((1, 2))
    assert (edges > 0).sum() == 2


def test_only_the_labelled_persons_surroundings_count_where_others_are_not_labelled(picture: Path) -> None:
    from trainer.data.targets import render_mask

    record = _record([[100, 60, 80, 80]], only_labelled=True, image=picture)
    options = PipelineOptions(side=SIDE)
    sample = make_sample(record, AugmentOptions(rotation=0), options, BODY_18, np.random.default_rng(1))
    mask = np.asarray(render_mask(sample.ignored[None], (SIDE // 4, SIDE // 4), 4))[0, ..., 0]
    center = sample.keypoints[0, :, :2].mean(0)
    column, row = np.clip(np.round((center + 0.5) / 4 - 0.5), 0, SIDE // 4 - 1).astype(int)
    assert mask[row, column] == 1
    assert mask.min() == 0


def test_a_coco_file_is_read_with_crowds_and_unlabelled_people_set_aside(tmp_path: Path) -> None:
    annotations = tmp_path / "people.json"
    joints = [10.0, 20.0, 2.0] * 17
    annotations.write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
                "annotations": [
                    {"image_id": 7, "num_keypoints": 17, "iscrowd": 0, "bbox": [1, 2, 3, 4], "keypoints": joints},
                    {"image_id": 7, "num_keypoints": 0, "iscrowd": 0, "bbox": [5, 6, 7, 8], "keypoints": [0] * 51},
                    {"image_id": 7, "num_keypoints": 9, "iscrowd": 1, "bbox": [9, 9, 9, 9], "keypoints": joints},
                ],
            }
        )
    )
    first, second = load_records(annotations, tmp_path)
    assert first.image == tmp_path / "a.jpg"
    assert first.keypoints.shape == (1, 18, 3)
    np.testing.assert_array_equal(first.ignored, [[5, 6, 7, 8], [9, 9, 9, 9]])
    assert second.keypoints.shape == (0, 18, 3)
