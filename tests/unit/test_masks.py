"""Segmentations become masks, whatever is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from trainer.data.masks import is_segmentation, rasterise


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.T.ravel().astype(bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def blob(height: int = 60, width: int = 80) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[20:40, 30:60] = 1
    mask[5:9, 70:75] = 1
    return mask


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 30), width=st.integers(1, 30), share=st.floats(0, 1))
def test_run_lengths_mean_what_pycocotools_means(seed: int, height: int, width: int, share: float) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    compressed: Any = coco_mask.encode(np.asfortranarray(mask))
    compressed["counts"] = compressed["counts"].decode()
    assert is_segmentation(compressed)
    assert is_segmentation(uncompressed(mask))
    drawn = [rasterise([code], (width, height), (width, height)) for code in (compressed, uncompressed(mask))]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0][mask > 0] == 255).all()
    assert drawn[0].any() == mask.any()


def test_a_mask_covers_the_region_and_little_around_it() -> None:
    mask = rasterise([uncompressed(blob())], (80, 60), (80, 60))
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[blob() > 0] == 255).all()
    assert mask[:, :25].max() == 0
    assert mask[45:].max() == 0


def test_polygons_and_run_lengths_of_one_region_agree() -> None:
    polygon = [[30, 20, 60, 20, 60, 40, 30, 40], [70, 5, 75, 5, 75, 9, 70, 9]]
    difference = rasterise([polygon], (80, 60), (80, 60)) != rasterise([uncompressed(blob())], (80, 60), (80, 60))
    assert difference.mean() < 0.03


def test_a_mask_has_the_size_of_the_stored_picture() -> None:
    polygon = [[30, 20, 60, 20, 60, 40, 30, 40]]
    mask = rasterise([polygon, uncompressed(blob())], (80, 60), (40, 30))
    assert mask.shape == (30, 40)
    assert mask[15, 22] == 255
    assert mask[3, 36] == 255
    assert mask[3, 5] == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[]],
        [1, 2, 3, 4, 5, 6],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, "six"]],
        [[1, 2, 3, 4, 5, float("nan")]],
        {"size": [40, 50]},
        {"size": [40, 50], "counts": ""},
        {"size": [40, 50], "counts": "0000000000"},
        {"size": [40, 50], "counts": "garbage!!"},
        {"size": [40, 50], "counts": [5, 10]},
        {"size": [40, 50], "counts": [100, -4, 1904]},
        {"size": [-40, -50], "counts": [2000]},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": "large", "counts": [5]},
    ],
)
def test_what_cannot_be_drawn_is_no_segmentation(value: Any) -> None:
    assert not is_segmentation(value)


def test_a_point_far_outside_costs_nothing() -> None:
    polygon = [[1e9, 1, 10, 1e9, 5, 5]]
    assert is_segmentation(polygon)
    assert rasterise([polygon], (80, 60), (80, 60)).shape == (60, 80)
