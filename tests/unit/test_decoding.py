"""Decoding fields in the graph: what is drawn into the fields comes out again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.skeleton import BODY_18
from trainer.decoding import DecodeOptions, decode

STRIDE = 4
SHAPE = (96, 128)
NOSE, NECK = BODY_18.index("nose"), BODY_18.index("neck")
NECK_TO_NOSE = BODY_18.limbs.index((NECK, NOSE))


def empty_fields(shape: tuple[int, int] = SHAPE) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    cells = (1, shape[0] // STRIDE, shape[1] // STRIDE)
    return np.zeros((*cells, BODY_18.num_keypoints), np.float32), np.zeros((*cells, 2 * BODY_18.num_limbs), np.float32)


def draw_peak(
    heatmaps: NDArray[np.float32], kind: int, x: float, y: float, sigma: float = 7.0, top: float = 1.0
) -> None:
    """Max-merge a Gaussian whose centre and sigma are in pixels of the network input."""
    _, height, width, _ = heatmaps.shape
    columns, rows = np.arange(width) * STRIDE + (STRIDE - 1) / 2, np.arange(height) * STRIDE + (STRIDE - 1) / 2
    squared = (columns[None, :] - x) ** 2 + (rows[:, None] - y) ** 2
    heatmaps[0, :, :, kind] = np.maximum(heatmaps[0, :, :, kind], top * np.exp(-squared / (2 * sigma**2)))


def draw_limb(
    pafs: NDArray[np.float32], limb: int, start: tuple[float, float], end: tuple[float, float], half: float = 5.0
) -> None:
    """Set unit vectors within `half` pixels of the segment."""
    _, height, width, _ = pafs.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) * STRIDE + (STRIDE - 1) / 2 - np.array(start)
    along = np.array(end) - start
    length = math.hypot(*along)
    unit = along / length
    position, distance = grid @ unit, np.abs(grid @ np.array([-unit[1], unit[0]]))
    inside = (position >= -half) & (position <= length + half) & (distance <= half)
    pafs[0, inside, 2 * limb : 2 * limb + 2] = unit


def run(
    heatmaps: NDArray[np.float32], pafs: NDArray[np.float32], options: DecodeOptions = DecodeOptions()
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    peaks, limbs = decode(heatmaps, pafs, skeleton=BODY_18, stride=STRIDE, options=options)
    return np.asarray(peaks), np.asarray(limbs)


def slot_at(peaks: NDArray[np.float32], x: float, y: float) -> int:
    return int(np.argmin(np.hypot(peaks[:, 0] - x, peaks[:, 1] - y)))


@pytest.mark.parametrize("sigma", [3.0, 7.0, 14.0])
@pytest.mark.parametrize("x", [20.0, 40.3, 61.5, 81.9])
@pytest.mark.parametrize("y", [33.5, 47.2, 60.0])
def test_a_peak_is_found_where_it_was_drawn(x: float, y: float, sigma: float) -> None:
    heatmaps, pafs = empty_fields()
    draw_peak(heatmaps, NOSE, x, y, sigma)
    peaks, _ = run(heatmaps, pafs)
    assert np.abs(peaks[0, NOSE, 0, :2] - (x, y)).max() < 0.1
    assert peaks[0, NOSE, 0, 2] == pytest.approx(heatmaps[..., NOSE].max())
    assert not peaks[0, NOSE, 1:].any()
    assert not np.delete(peaks[0], NOSE, axis=0).any()


@pytest.mark.parametrize("sigma", [3.0, 7.0, 14.0])
@pytest.mark.parametrize("x", [0.0, 1.5, 3.7, 123.3, 126.4, 127.0])
@pytest.mark.parametrize("y", [0.0, 2.2, 48.0, 93.1, 95.0])
def test_a_peak_at_the_border_is_found_within_a_pixel(x: float, y: float, sigma: float) -> None:
    heatmaps, pafs = empty_fields()
    draw_peak(heatmaps, NOSE, x, y, sigma)
    peaks, _ = run(heatmaps, pafs)
    assert np.abs(peaks[0, NOSE, 0, :2] - (x, y)).max() < 1.0
    assert not peaks[0, NOSE, 1:].any()


def test_a_peak_midway_between_cells_is_reported_once() -> None:
    heatmaps, pafs = empty_fields()
    draw_peak(heatmaps, NECK, 4 * 10 + 3.5, 4 * 8 + 3.5)  # four cells hold the same value
    peaks, _ = run(heatmaps, pafs)
    assert (peaks[0, NECK, :, 2] > 0).sum() == 1
    assert peaks[0, NECK, 0, :2] == pytest.approx((43.5, 35.5), abs=0.05)


def test_peaks_are_sorted_by_score_and_neighbours_stay_apart() -> None:
    heatmaps, pafs = empty_fields()
    drawn = [(20.0, 20.0, 0.5), (36.0, 20.0, 0.9), (100.0, 70.0, 0.7), (20.0, 80.0, 0.2)]
    for x, y, top in drawn:
        draw_peak(heatmaps, NOSE, x, y, 4.0, top)
    peaks, _ = run(heatmaps, pafs)
    found = peaks[0, NOSE, :4]
    assert (np.diff(peaks[0, NOSE, :, 2]) <= 0).all()
    for (x, y, _), peak in zip(sorted(drawn, key=lambda d: -d[2]), found, strict=True):
        assert np.abs(peak[:2] - (x, y)).max() < 1.0


def test_only_the_best_peaks_keep_a_slot() -> None:
    heatmaps, pafs = empty_fields((128, 256))
    positions = [(x, y) for x in range(16, 256, 24) for y in range(16, 128, 24)]
    for i, (x, y) in enumerate(positions):
        draw_peak(heatmaps, NOSE, x, y, 3.0, 0.9 - 0.01 * i)
    peaks, limbs = run(heatmaps, pafs, DecodeOptions(max_peaks=24))
    assert peaks.shape == (1, 18, 24, 3) and limbs.shape == (1, 19, 24, 24)
    assert len(positions) > 24
    assert np.abs(peaks[0, NOSE, :, :2] - positions[:24]).max() < 1.0


def test_maxima_under_the_threshold_are_no_peaks() -> None:
    heatmaps, pafs = empty_fields()
    draw_peak(heatmaps, NOSE, 40, 40, top=0.02)
    draw_peak(heatmaps, NECK, 40, 40, top=0.05)
    peaks, _ = run(heatmaps, pafs)
    assert not peaks[0, NOSE].any()
    assert peaks[0, NECK, 0, 2] > 0.03


def test_limbs_that_were_drawn_score_and_other_pairs_do_not() -> None:
    heatmaps, pafs = empty_fields()
    people = [((20.0, 60.0), (24.0, 34.0)), ((50.0, 62.0), (47.0, 30.0)), ((90.0, 50.0), (70.0, 44.0))]
    for person, (neck, nose) in enumerate(people):
        draw_peak(heatmaps, NECK, *neck, 4.0, 0.9 - 0.1 * person)
        draw_peak(heatmaps, NOSE, *nose, 4.0, 0.9 - 0.1 * person)
        draw_limb(pafs, NECK_TO_NOSE, neck, nose)
    peaks, limbs = run(heatmaps, pafs)
    scores = limbs[0, NECK_TO_NOSE]
    pairs = {(slot_at(peaks[0, NECK], *neck), slot_at(peaks[0, NOSE], *nose)) for neck, nose in people}
    for row, column in np.ndindex(*scores.shape):
        assert scores[row, column] > 0.8 if (row, column) in pairs else scores[row, column] <= 0.2
    assert not np.delete(limbs[0], NECK_TO_NOSE, axis=0).any()


def test_a_limb_against_the_field_scores_nothing() -> None:
    heatmaps, pafs = empty_fields()
    draw_peak(heatmaps, NECK, 30, 30)
    draw_peak(heatmaps, NOSE, 70, 60)
    draw_limb(pafs, NECK_TO_NOSE, (70, 60), (30, 30))
    assert not run(heatmaps, pafs)[1].any()


def test_a_limb_that_the_field_covers_half_scores_nothing() -> None:
    heatmaps, pafs = empty_fields()
    draw_peak(heatmaps, NECK, 20, 50)
    draw_peak(heatmaps, NOSE, 100, 50)
    draw_limb(pafs, NECK_TO_NOSE, (20, 50), (50, 50))
    assert not run(heatmaps, pafs)[1].any()


def test_limbs_longer_than_half_the_picture_score_less() -> None:
    def score(end: float) -> float:
        heatmaps, pafs = empty_fields()
        draw_peak(heatmaps, NECK, 10, 50)
        draw_peak(heatmaps, NOSE, end, 50)
        draw_limb(pafs, NECK_TO_NOSE, (10, 50), (end, 50))
        return float(run(heatmaps, pafs)[1][0, NECK_TO_NOSE, 0, 0])

    assert score(60) == pytest.approx(1.0, abs=1e-3)
    assert score(110) == pytest.approx(64 / 100, abs=0.01)


def test_keypoints_on_one_spot_give_finite_scores() -> None:
    heatmaps, pafs = empty_fields()
    for kind in range(BODY_18.num_keypoints):
        draw_peak(heatmaps, kind, 40, 40)
    pafs[:] = 1.0
    peaks, limbs = run(heatmaps, pafs)
    assert np.isfinite(peaks).all() and np.isfinite(limbs).all()


@pytest.mark.parametrize("shape", [(32, 32), (64, 32), (96, 128), (160, 96)])
def test_empty_fields_give_nothing(shape: tuple[int, int]) -> None:
    peaks, limbs = run(*empty_fields(shape))
    assert peaks.shape == (1, 18, 30, 3) and not peaks.any()
    assert limbs.shape == (1, 19, 30, 30) and not limbs.any()


@pytest.mark.parametrize("fill", ["ones", "noise", "negative"])
def test_senseless_fields_give_finite_values_inside_the_picture(fill: str) -> None:
    heatmaps, pafs = empty_fields()
    random = np.random.default_rng(0)
    for field in (heatmaps, pafs):
        field[:] = {"ones": 1.0, "noise": random.random(field.shape), "negative": -1.0}[fill]
    peaks, limbs = run(heatmaps, pafs)
    assert np.isfinite(peaks).all() and np.isfinite(limbs).all()
    assert (peaks[..., :2] >= 0).all()
    assert (peaks[..., 0] <= SHAPE[1] - 1).all() and (peaks[..., 1] <= SHAPE[0] - 1).all()
    assert (limbs >= 0).all()


def test_pictures_of_a_batch_do_not_mix() -> None:
    random = np.random.default_rng(1)
    pairs = []
    for _ in range(3):
        heatmaps, pafs = empty_fields()
        for kind in range(BODY_18.num_keypoints):
            for _ in range(3):
                draw_peak(heatmaps, kind, random.uniform(0, 127), random.uniform(0, 95), 5.0, random.uniform(0.3, 1))
        pafs[:] = random.normal(size=pafs.shape)
        pairs.append((heatmaps, pafs))
    together = run(*(np.concatenate(fields) for fields in zip(*pairs, strict=True)))
    for i, pair in enumerate(pairs):
        for batched, alone in zip(together, run(*pair), strict=True):
            np.testing.assert_allclose(batched[i], alone[0], atol=1e-4)
