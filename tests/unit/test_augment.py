"""Augmentation: picture, keypoints and regions go through one and the same map."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.geometry import PAD_VALUE
from tests import photos
from trainer.data.augment import (
    AugmentOptions,
    cut_out,
    draw,
    draw_affine,
    jitter_color,
    pick_options,
    stack_options,
)
from trainer.data.picture import affine_scale, decode_and_warp, decode_scaled, invert, transform_points

SIDE = 128
STILL = AugmentOptions(rotation=0, jitter=0, flip=0, color=0, gray=0, degrade=0)


def _affine(
    boxes: list[list[float]], picture: tuple[int, int], side: int, options: AugmentOptions, seed: int
) -> tuple[NDArray[np.float32], bool]:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    matrix, mirror, _ = draw_affine(array, tf.constant(picture, tf.float32), side, options, draw([seed, 0]))
    return matrix.numpy(), bool(mirror)


def _spot(size: tuple[int, int], point: NDArray[np.floating], sigma: float) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[: size[1], : size[0]]
    distance = ((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / sigma**2
    return np.repeat((255 * np.exp(-distance / 2))[..., None], 3, -1).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(60, 900),
    height=st.integers(60, 900),
    x=st.floats(0.3, 0.7),
    y=st.floats(0.3, 0.7),
    scale=st.floats(0.08, 2.0),
    side=st.sampled_from([128, 192, 256, 384, 512]),
)
def test_a_spot_in_the_picture_lands_where_its_keypoint_lands(
    seed: int, width: int, height: int, x: float, y: float, scale: float, side: int
) -> None:
    point = np.array([x * width, y * height])
    jpeg = photos.encode(_spot((width, height), point, max(2.5 / scale, 2.0)))
    long_side = scale * max(width, height)
    options = AugmentOptions(long_side=(long_side, long_side), person_side=(1e-3, 1e6))
    matrix, _ = _affine([[*(point - 20), 40, 40]], (width, height), side, options, seed)
    expected = transform_points(point.astype(np.float32), matrix).numpy()
    radius = 3 * max(2.5, 2.0 * scale)
    rows, columns = np.mgrid[:side, :side]
    near = np.hypot(columns - expected[0], rows - expected[1]) < radius
    around = transform_points(np.stack([columns[near], rows[near]], -1).astype(np.float32), invert(matrix)).numpy()
    assume(((expected > radius) & (expected < side - 1 - radius)).all())
    assume(((around > 1 / scale) & (around < np.array([width, height]) - 1 - 1 / scale)).all())
    warped = decode_and_warp(jpeg, matrix, side).numpy()[..., 0]
    weights = np.maximum(warped - 20, 0) * near
    centroid = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
    np.testing.assert_allclose(centroid, expected, atol=0.5)


@pytest.mark.parametrize(("scale", "ratio"), [(1.5, 1), (1.0, 1), (0.51, 1), (0.5, 2), (0.3, 2), (0.2, 4), (0.1, 8)])
def test_the_decoder_shrinks_as_far_as_it_can_without_enlarging_afterwards(scale: float, ratio: int) -> None:
    jpeg = photos.encode(photos.astronaut())
    pixels, chosen, remaining = decode_scaled(jpeg, tf.constant(scale))
    assert int(chosen) == ratio
    assert pixels.shape == (512 // ratio, 512 // ratio, 3)
    assert float(remaining) == pytest.approx(scale * ratio)


@pytest.mark.parametrize("scale", [1.0, 0.6, 0.5, 0.3])
def test_a_scaled_picture_looks_like_one_that_the_service_shrinks(scale: float) -> None:
    photo = photos.astronaut()
    side = round(512 * scale)
    exact = side / 512
    matrix = np.array([[exact, 0, exact / 2 - 0.5], [0, exact, exact / 2 - 0.5]], np.float32)
    warped = decode_and_warp(photos.encode(photo), matrix, side).numpy()
    served = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    assert np.abs(warped - served).mean() < 4
    shifted = np.abs(warped[:, 1:] - served[:, :-1]).mean()
    assert shifted > 2 * np.abs(warped - served).mean()


def test_outside_of_the_picture_is_the_colour_that_serving_pads_with() -> None:
    matrix = np.array([[1, 0, 200], [0, 1, 0]], np.float32)
    warped = decode_and_warp(photos.encode(photos.astronaut()), matrix, 256).numpy()
    assert (warped[:, :199] == PAD_VALUE).all()
    assert (warped[:, 200:] != PAD_VALUE).any()


def test_the_inverse_undoes_the_map() -> None:
    matrix = tf.constant([[0.5, -0.3, 7.0], [0.4, 0.6, -4.0]])
    points = tf.constant([[[3.0, 4.0], [100.0, -20.0]]])
    back = transform_points(transform_points(points, matrix), invert(matrix))
    np.testing.assert_allclose(back, points, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(20, 600), height=st.integers(20, 600))
def test_the_drawn_scale_keeps_the_person_within_bounds(seed: int, width: int, height: int) -> None:
    options = AugmentOptions(person_side=(28, 300))
    matrix, _ = _affine([[5.0, 5.0, width, height]], (640, 640), SIDE, options, seed)
    person = max(width, height) * float(affine_scale(tf.constant(matrix)))
    assert 28 - 1e-2 <= person <= 300 + 1e-2


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_picture_larger_than_the_input_fills_it(seed: int) -> None:
    options = AugmentOptions(long_side=(300, 600), rotation=0, person_side=(1, 1e6))
    matrix, _ = _affine([[0.0, 0.0, 60, 60]], (400, 400), SIDE, options, seed)
    corners = transform_points(np.array([[-0.5, -0.5], [SIDE - 0.5, SIDE - 0.5]], np.float32), invert(matrix)).numpy()
    assert corners.min() >= -0.5 - 1e-2
    assert corners.max() <= 399.5 + 1e-2


def test_angles_stay_within_the_limit_and_mirrors_come_as_often_as_asked() -> None:
    options = AugmentOptions(rotation=30, flip=0.25)
    drawn = [_affine([[50, 50, 60, 60]], (200, 200), SIDE, options, seed) for seed in range(100)]
    mirrored = [mirror for _, mirror in drawn]
    assert all((np.linalg.det(matrix[:, :2]) < 0) == mirror for matrix, mirror in drawn)
    assert 0.12 < np.mean(mirrored) < 0.38
    angles = [np.degrees(np.arctan2(m[1, 0], m[1, 1])) for m, _ in drawn]
    assert 22 < np.abs(angles).max() <= 30 + 1e-3
    assert 9 < np.std(angles) < 20


def test_without_people_the_crop_is_around_the_middle() -> None:
    matrix, _ = _affine([], (300, 200), SIDE, STILL, 0)
    middle = transform_points(np.array([149.5, 99.5], np.float32), matrix).numpy()
    np.testing.assert_allclose(middle, [(SIDE - 1) / 2] * 2, atol=1e-3)


def test_without_changes_of_colour_a_picture_stays_as_it_is() -> None:
    photo = photos.astronaut()[:SIDE, :SIDE]
    same = jitter_color(tf.constant(photo, tf.float32), STILL, draw([1, 2]))
    assert np.abs(same.numpy().astype(int) - photo).max() <= 1


def test_a_grey_picture_has_three_equal_channels() -> None:
    photo = tf.constant(photos.astronaut()[:SIDE, :SIDE], tf.float32)
    options = AugmentOptions(color=0, gray=1, degrade=0)
    grey = jitter_color(photo, options, draw([1, 2])).numpy().astype(int)
    assert np.ptp(grey, axis=-1).max() <= 1
    assert grey.std() > 20


def test_degraded_pictures_lose_detail_but_not_their_brightness() -> None:
    photo = photos.astronaut()[100:356, 100:356]
    options = AugmentOptions(color=0, gray=0, degrade=1)
    results = [jitter_color(tf.constant(photo, tf.float32), options, draw([7, i])).numpy() for i in range(8)]
    assert all(not np.array_equal(result, photo) for result in results)
    assert all(abs(float(result.mean()) - float(photo.mean())) < 2 for result in results)
    blurred = [np.abs(np.diff(result.astype(int), axis=1)).mean() for result in results]
    assert min(blurred) < 0.8 * np.abs(np.diff(photo.astype(int), axis=1)).mean()


def test_colours_change_from_sample_to_sample_and_not_within_one() -> None:
    photo = tf.constant(photos.astronaut()[:64, :64], tf.float32)
    options = AugmentOptions(degrade=0)
    first, again, other = (jitter_color(photo, options, draw([0, i])).numpy() for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_cut_out_hides_a_part_of_the_person_and_nothing_else() -> None:
    picture = tf.fill([SIDE, SIDE, 3], tf.constant(10, tf.uint8))
    matrix, box = tf.constant([[1.0, 0, 0], [0, 1, 0]]), tf.constant([40.0, 40, 40, 40])
    shown = [cut_out(picture, box, matrix, AugmentOptions(cutout=1), draw([3, i])).numpy() for i in range(10)]
    hidden = [(picture[..., 0] == PAD_VALUE) for picture in shown]
    assert all(0 < mask.sum() <= 21**2 for mask in hidden)
    assert not any(mask[:30].any() or mask[90:].any() for mask in hidden)
    kept = cut_out(picture, box, matrix, AugmentOptions(), draw([3, 0])).numpy()
    assert (kept == 10).all()


def test_options_come_back_from_the_table_that_holds_those_of_all_sources() -> None:
    options = AugmentOptions(long_side=(1, 2), person_side=(3, 4), rotation=5, jitter=6, flip=0.7, cutout=0.5)
    picked = pick_options(stack_options([AugmentOptions(), options]), tf.constant(1))
    assert [float(bound) for bound in (*picked.long_side, *picked.person_side)] == [1, 2, 3, 4]
    assert [float(v) for v in (picked.rotation, picked.jitter, picked.cutout)] == [5, 6, 0.5]
    assert float(picked.flip) == pytest.approx(0.7)


def test_options_load_without_tensorflow() -> None:
    script = (
        "import sys, trainer.data.augment, trainer.data.pipeline, trainer.data.targets\n"
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
