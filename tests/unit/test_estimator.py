from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.geometry import Box, Shape
from shared.inference.engine import Fields, PoseArrays
from shared.inference.estimator import PoseEstimator, PoseOptions, Prepared, average_mirrored, finish, prepare
from shared.skeleton import BODY_18

SHAPES: tuple[Shape, ...] = ((96, 128), (128, 96), (128, 128), (192, 256), (256, 256))
STRIDE = 4


def people_at(people: NDArray[np.floating], slots: int = 8) -> PoseArrays:
    """Arrays in which each row of ``[N, 18, 3]`` (network-input pixels) is a person in a slot of its own."""
    peaks = np.zeros((1, 18, slots, 3), np.float32)
    peaks[0, :, : len(people)] = people.transpose(1, 0, 2)
    limbs = np.zeros((1, 19, slots, slots), np.float32)
    limbs[0, :, range(len(people)), range(len(people))] = 0.9
    return PoseArrays(peaks, limbs)


def random_people(count: int, low: NDArray[np.floating], high: NDArray[np.floating]) -> NDArray[np.floating]:
    generator = np.random.default_rng(5)
    xy = low + generator.random((count, 18, 2)) * (high - low)
    scores = np.linspace(0.9, 0.1, count)[:, None, None] * np.ones((count, 18, 1))
    return np.concatenate([xy, scores], axis=-1)


class BrightnessEngine:
    """An engine whose fields are the picture's brightness and its gradient, so that it treats both sides alike."""

    name = "brightness"
    shapes = SHAPES

    def __init__(self, arrays: PoseArrays | None = None) -> None:
        self.arrays = arrays
        self.decoded: list[Fields] = []

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        assert images.dtype == np.uint8
        assert images.shape[1:3] in SHAPES
        assert self.arrays is not None
        return self.arrays

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        batch, height, width, _ = images.shape
        light = images.mean(axis=-1).reshape(batch, height // STRIDE, STRIDE, width // STRIDE, STRIDE).mean(axis=(2, 4))
        slopes = np.stack([np.gradient(light, axis=2), np.gradient(light, axis=1)], axis=-1)
        heatmaps = np.repeat(light[..., None] / 255, 18, axis=-1)
        return Fields(heatmaps.astype(np.float32), np.tile(slopes, (1, 1, 1, 19)).astype(np.float32))

    def decode(self, fields: Fields) -> PoseArrays:
        self.decoded.append(fields)
        assert self.arrays is not None
        return self.arrays

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        pass

    def close(self) -> None:
        pass


def picture(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def test_prepare_gives_a_batch_of_one_in_the_best_shape() -> None:
    prepared = prepare(picture(640, 480), PoseOptions(long_side=256), SHAPES)
    assert prepared.images.shape == (1, 192, 256, 3)
    assert prepared.images.dtype == np.uint8
    assert prepare(picture(480, 640), PoseOptions(long_side=100), SHAPES).images.shape == (1, 128, 96, 3)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (333, 500), (50, 40), (1920, 1080), (7, 900)])
@pytest.mark.parametrize("roi", [None, (3, 11, 0.6, 0.5)])
def test_people_come_back_in_pixels_of_the_source(
    width: int, height: int, roi: tuple[int, int, float, float] | None
) -> None:
    box = roi and Box(roi[0], roi[1], max(1, int(width * roi[2])), max(1, int(height * roi[3])))
    options = PoseOptions(long_side=128, min_score=0, roi=box)
    prepared = prepare(picture(width, height), options, SHAPES)
    region = prepared.letterbox.region
    low = np.array([region.x, region.y])
    truth = random_people(3, low, low + [region.width - 1, region.height - 1])
    inside = np.concatenate([prepared.letterbox.to_input(truth[..., :2]), truth[..., 2:]], axis=-1)
    people = PoseEstimator(BrightnessEngine(people_at(inside)), BODY_18).estimate(picture(width, height), options)
    scale = min(prepared.letterbox.scale)
    np.testing.assert_allclose(people.keypoints[..., :2], truth[..., :2], atol=1e-3 * max(1, 1 / scale))
    np.testing.assert_allclose(people.keypoints[..., 2], truth[..., 2], atol=1e-6)
    assert people.keypoints.dtype == np.float32


def test_the_region_of_interest_is_what_the_engine_sees() -> None:
    image = picture(640, 480)
    whole = prepare(np.ascontiguousarray(image[100:292, 200:456]), PoseOptions(long_side=256), SHAPES)
    region = prepare(image, PoseOptions(long_side=256, roi=Box(200, 100, 256, 192)), SHAPES)
    np.testing.assert_array_equal(region.images, whole.images)


def test_a_region_partly_outside_is_clipped() -> None:
    prepared = prepare(picture(100, 80), PoseOptions(roi=Box(-20, 60, 500, 500)), SHAPES)
    assert prepared.letterbox.region == Box(0, 60, 100, 20)


@pytest.mark.parametrize(
    "roi", [Box(100, 0, 5, 5), Box(0, 80, 5, 5), Box(-9, 0, 9, 9), Box(0, 0, 0, 9), Box(5, 5, 9, -1)]
)
def test_a_region_outside_is_refused_with_the_picture_size(roi: Box) -> None:
    with pytest.raises(YaopError, match=r"does not overlap the picture \(100 x 80 pixels\)"):
        prepare(picture(100, 80), PoseOptions(roi=roi), SHAPES)


def _finish(people: NDArray[np.floating], prepared: Prepared, options: PoseOptions) -> NDArray[np.float32]:
    arrays = people_at(people)
    return finish(arrays.peaks[0], arrays.limb_scores[0], prepared, options, BODY_18).keypoints


def test_weak_people_and_those_beyond_the_limit_are_left_out() -> None:
    prepared = prepare(picture(128, 96), PoseOptions(long_side=128), SHAPES)
    people = random_people(5, np.zeros(2), np.array([127, 95]))  # scores 0.81, 0.49, 0.25, 0.09, 0.01
    assert len(_finish(people, prepared, PoseOptions(min_score=0))) == 5
    assert len(_finish(people, prepared, PoseOptions())) == 4
    assert len(_finish(people, prepared, PoseOptions(min_score=0.4))) == 2
    best = _finish(people, prepared, PoseOptions(max_people=2))
    np.testing.assert_allclose(best[:, 0, 2], [0.9, 0.7], atol=1e-6)


def test_peaks_in_the_padding_are_not_used() -> None:
    prepared = prepare(picture(128, 40), PoseOptions(long_side=128), SHAPES)
    assert prepared.letterbox.size == (128, 40)
    person = random_people(1, np.zeros(2), np.array([127, 39]))
    person[0, 4, 1] = 60
    found = _finish(person, prepared, PoseOptions(min_score=0))[0]
    assert found[4].tolist() == [0, 0, 0]
    assert (found[[3, 5], 2] > 0).all()


def test_keypoints_stay_inside_the_picture() -> None:
    prepared = prepare(picture(1000, 750), PoseOptions(long_side=128), SHAPES)
    person = random_people(1, np.zeros(2), np.array([127, 95]))
    person[0, 4, :2], person[0, 7, :2] = (127.7, 95.7), (-0.49, -0.49)
    found = _finish(person, prepared, PoseOptions(min_score=0))[0]
    assert found[4, :2].tolist() == [999, 749]
    assert found[7, :2].tolist() == [0, 0]


def test_nobody() -> None:
    people = PoseEstimator(BrightnessEngine(people_at(np.zeros((0, 18, 3)))), BODY_18).estimate(picture(64, 48))
    assert people.keypoints.shape == (0, 18, 3)


@pytest.mark.parametrize(("width", "height"), [(128, 96), (111, 96), (50, 96)])
def test_flipping_changes_nothing_for_an_engine_that_sees_both_sides_alike(width: int, height: int) -> None:
    estimator = PoseEstimator(BrightnessEngine(), BODY_18)
    image = picture(width, height)
    plain, flipped = (estimator.fields(image, PoseOptions(long_side=128, flip=flip)) for flip in (False, True))
    np.testing.assert_allclose(flipped.heatmaps, plain.heatmaps, atol=1e-6)
    np.testing.assert_allclose(flipped.pafs, plain.pafs, atol=1e-4)


def test_flipping_decodes_the_averaged_fields() -> None:
    engine = BrightnessEngine(people_at(random_people(1, np.zeros(2), np.array([90, 90]))))
    estimator = PoseEstimator(engine, BODY_18)
    options = PoseOptions(long_side=128, flip=True)
    assert len(estimator.estimate(picture(128, 96), options).scores) == 1
    (decoded,) = engine.decoded
    np.testing.assert_array_equal(decoded.heatmaps, estimator.fields(picture(128, 96), options).heatmaps)


def test_what_is_right_in_the_mirror_is_left_in_the_picture() -> None:
    left, right = BODY_18.index("left_wrist"), BODY_18.index("right_wrist")
    limb = BODY_18.limbs.index((BODY_18.index("left_elbow"), left))
    mirrored = BODY_18.limbs.index((BODY_18.index("right_elbow"), right))
    heatmaps, pafs = np.zeros((2, 6, 8, 18), np.float32), np.zeros((2, 6, 8, 38), np.float32)
    heatmaps[0, 2, 1, left] = heatmaps[1, 2, 6, right] = 1
    pafs[0, 2, 1, 2 * limb : 2 * limb + 2] = (0.6, 0.8)
    pafs[1, 2, 6, 2 * mirrored : 2 * mirrored + 2] = (-0.6, 0.8)
    fields = average_mirrored(Fields(heatmaps, pafs), BODY_18)
    np.testing.assert_allclose(fields.heatmaps, heatmaps[:1])
    np.testing.assert_allclose(fields.pafs, pafs[:1])
