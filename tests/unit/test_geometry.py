from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.geometry import PAD_VALUE, Box, Shape, best_shape, cell_to_input, input_to_cell, letterbox

LONG_SIDES = (128, 192, 256, 320, 384, 512, 640, 768, 1024)


def _listed_shapes() -> tuple[Shape, ...]:
    shapes: list[Shape] = []
    for side in LONG_SIDES:
        for across, down in ((1, 1), (4, 3), (16, 9)):
            short = -(-side * down // across // 32) * 32
            shapes += [(short, side), (side, short)]
    return tuple(dict.fromkeys(shapes))


SHAPES = _listed_shapes()
PICTURES = [(640, 480), (480, 640), (1920, 1080), (333, 500), (97, 61), (2016, 1512), (384, 384), (385, 289)]


@settings(max_examples=300, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    corner=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    stride=st.sampled_from([4, 8]),
)
def test_a_point_survives_the_way_to_the_cells_and_back(
    shape: Shape, size: tuple[int, int], corner: tuple[int, int], place: tuple[float, float], stride: int
) -> None:
    box = letterbox(Box(*corner, *size), shape)
    point = np.array(corner) + np.array(place) * (np.array(size) - 1)
    there = input_to_cell(box.to_input(point), stride)
    back = box.to_source(cell_to_input(there, stride))
    assert np.abs(back - point).max() < 0.5
    assert (there >= -0.5).all()
    assert (there <= np.array(shape[::-1]) / stride - 0.5).all()


@settings(max_examples=200, deadline=None)
@given(shape=st.sampled_from(SHAPES), size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_the_region_fills_the_input_without_leaving_it(shape: Shape, size: tuple[int, int]) -> None:
    box = letterbox(Box(0, 0, *size), shape)
    assert 1 <= box.size[0] <= shape[1]
    assert 1 <= box.size[1] <= shape[0]
    assert box.size[0] == shape[1] or box.size[1] == shape[0]


def _blob(width: int, height: int, center: NDArray[np.floating], sigma: float) -> NDArray[np.uint8]:
    column, row = (
        np.exp(-((np.arange(n) - c) ** 2) / (2 * sigma**2)) for n, c in ((width, center[0]), (height, center[1]))
    )
    return np.repeat(np.round(255 * np.outer(row, column)).astype(np.uint8)[..., None], 3, axis=2)


def _centroid(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.floating]:
    weight = image[: size[1], : size[0], 0].astype(float)
    return np.array([weight.sum(axis=0) @ np.arange(size[0]), weight.sum(axis=1) @ np.arange(size[1])]) / weight.sum()


@pytest.mark.parametrize("long_side", [128, 384, 1024])
@pytest.mark.parametrize("picture", PICTURES)
def test_a_blob_in_the_picture_is_where_the_coordinates_say_in_the_input(
    picture: tuple[int, int], long_side: int
) -> None:
    width, height = picture
    center = np.array([0.387 * width, 0.561 * height])
    image = _blob(width, height, center, max(2.0, max(picture) / 40))
    box = letterbox(Box(0, 0, width, height), best_shape(width, height, long_side, SHAPES))
    np.testing.assert_allclose(_centroid(box.apply(image), box.size), box.to_input(center), atol=0.06)


@pytest.mark.parametrize("side", [100, 256, 700])
def test_a_blob_in_a_region_is_where_the_coordinates_say(side: int) -> None:
    region = Box(123, 57, side, side * 3 // 4)
    center = np.array([region.x + 0.4 * region.width, region.y + 0.55 * region.height])
    image = _blob(1000, 800, center, side / 30)
    box = letterbox(region, (192, 256))
    np.testing.assert_allclose(_centroid(box.apply(image), box.size), box.to_input(center), atol=0.06)


def test_a_cell_lies_in_the_middle_of_its_pixels() -> None:
    for stride in (4, 8):
        assert cell_to_input(np.array([0.0]), stride)[0] == np.arange(stride).mean()
        assert cell_to_input(np.array([3.0]), stride)[0] == np.arange(3 * stride, 4 * stride).mean()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (2, 3), (5000, 5000)])
def test_extreme_pictures_fit(width: int, height: int) -> None:
    shape = best_shape(width, height, 384, SHAPES)
    image = np.full((height, width, 3), 9, np.uint8)
    box = letterbox(Box(0, 0, width, height), shape)
    result = box.apply(image)
    assert result.shape == (*shape, 3)
    assert (result[: box.size[1], : box.size[0]] == 9).all()
    assert (result[box.size[1] :] == PAD_VALUE).all()
    assert (result[:, box.size[0] :] == PAD_VALUE).all()


@pytest.mark.parametrize(
    ("picture", "long_side", "expected"),
    [
        ((640, 480), 384, (288, 384)),
        ((480, 640), 384, (384, 288)),
        ((1920, 1080), 256, (160, 256)),
        ((500, 500), 200, (256, 256)),
        ((640, 480), 129, (160, 192)),
        ((640, 480), 1024, (768, 1024)),
        ((640, 480), 4000, (768, 1024)),
        ((5000, 10), 384, (224, 384)),
    ],
)
def test_the_best_listed_shape(picture: tuple[int, int], long_side: int, expected: Shape) -> None:
    assert best_shape(*picture, long_side, SHAPES) == expected
