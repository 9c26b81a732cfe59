"""The masked losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from shared.skeleton import BODY_18
from trainer.losses import fields_loss, heatmap_loss, paf_loss

K, L = BODY_18.num_keypoints, BODY_18.num_limbs
WEIGHTS = (np.ones((2, K), np.float32), np.ones((2, L), np.float32))


def _fields(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((2, 6, 8, K)).astype(np.float32), rng.normal(size=(2, 6, 8, 2 * L)).astype(np.float32)


def _loss(
    targets: tuple[np.ndarray, np.ndarray],
    predicted: tuple[np.ndarray, np.ndarray],
    mask: np.ndarray | None = None,
    keypoint_weights: np.ndarray | None = None,
    limb_weights: np.ndarray | None = None,
) -> tuple[float, float]:
    mask = np.ones((2, 6, 8, 1), np.float32) if mask is None else mask
    keypoint_weights = np.ones((2, K), np.float32) if keypoint_weights is None else keypoint_weights
    limb_weights = np.ones((2, L), np.float32) if limb_weights is None else limb_weights
    heatmap, paf = fields_loss(targets, [predicted[0]], [predicted[1]], mask, keypoint_weights, limb_weights)
    return float(heatmap), float(paf)


def test_a_perfect_prediction_costs_nothing() -> None:
    assert _loss(_fields(), _fields()) == (0.0, 0.0)


def test_errors_under_the_mask_cost_nothing_and_the_same_errors_outside_do() -> None:
    targets = _fields()
    wrong = (targets[0].copy(), targets[1].copy())
    wrong[0][:, :3] += 1
    wrong[1][:, :3] += 1
    mask = np.ones((2, 6, 8, 1), np.float32)
    mask[:, :3] = 0
    assert _loss(targets, wrong, mask) == (0.0, 0.0)
    assert min(_loss(targets, wrong)) > 0


def test_keypoints_and_limbs_a_data_set_does_not_label_cost_nothing() -> None:
    targets = _fields()
    wrong = (targets[0].copy(), targets[1].copy())
    wrong[0][..., 3] += 1
    wrong[1][..., 8] += 1  # x of limb 4
    keypoint_weights, limb_weights = np.ones((2, K), np.float32), np.ones((2, L), np.float32)
    keypoint_weights[:, 3] = 0
    limb_weights[:, 4] = 0
    assert _loss(targets, wrong, None, keypoint_weights, limb_weights) == (0.0, 0.0)


def test_every_stage_of_a_staged_network_adds_to_the_loss() -> None:
    targets, guess = _fields(0), _fields(1)
    once = fields_loss(targets, [guess[0]], [guess[1]], np.float32(1), *WEIGHTS)
    thrice = fields_loss(targets, [guess[0]] * 3, [guess[1]] * 3, np.float32(1), *WEIGHTS)
    np.testing.assert_allclose(thrice, np.array(once) * 3, rtol=1e-5)


def test_foreground_weighs_more_than_background() -> None:
    background, foreground = np.zeros((1, 4, 4, K), np.float32), np.ones((1, 4, 4, K), np.float32)
    assert float(heatmap_loss(foreground, foreground - 0.1, np.float32(1), 6.0)) == pytest.approx(
        7 * float(heatmap_loss(background, background + 0.1, np.float32(1), 6.0)), rel=1e-4
    )
    off, on = np.zeros((1, 4, 4, 2 * L), np.float32), np.ones((1, 4, 4, 2 * L), np.float32)
    assert float(paf_loss(on, on + 0.1, np.float32(1), 0.25, 1.25)) == pytest.approx(
        5 * float(paf_loss(off, off + 0.1, np.float32(1), 0.25, 1.25)), rel=1e-4
    )


def test_the_loss_is_computed_in_float32_for_half_precision_predictions() -> None:
    targets = _fields()
    half = (targets[0].astype(np.float16), targets[1].astype(np.float16))
    heatmap, paf = fields_loss(targets, [half[0]], [half[1]], np.float32(1), *WEIGHTS)
    assert keras.backend.standardize_dtype(heatmap.dtype) == "float32"
    assert keras.backend.standardize_dtype(paf.dtype) == "float32"
