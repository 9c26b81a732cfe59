from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.assembly import People
from shared.drawing import draw_people
from shared.skeleton import BODY_18

GREY = 90


def canvas(width: int = 400, height: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GREY, np.uint8)


def person(points: dict[str, tuple[float, float]]) -> People:
    keypoints = np.zeros((1, 18, 3), np.float32)
    for name, (x, y) in points.items():
        keypoints[0, BODY_18.index(name)] = (x, y, 0.9)
    return People(keypoints, np.array([0.5], np.float32))


def touched(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (image != GREY).any(axis=-1)


ARM = {"neck": (60.0, 150.0), "right_shoulder": (160.0, 150.0), "right_elbow": (160.0, 250.0)}


def test_nobody_leaves_an_equal_copy() -> None:
    image = canvas()
    drawn = draw_people(image, People.none(BODY_18), BODY_18)
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_the_input_is_not_drawn_on() -> None:
    image = canvas()
    draw_people(image, person(ARM), BODY_18)
    assert not touched(image).any()


def test_joints_and_limbs_have_their_colours() -> None:
    drawn = draw_people(canvas(), person(ARM), BODY_18)
    for name, (x, y) in ARM.items():
        assert tuple(drawn[int(y), int(x)]) == BODY_18.colors[BODY_18.index(name)]
    assert tuple(drawn[150, 110]) == BODY_18.colors[BODY_18.index("right_shoulder")]
    assert tuple(drawn[200, 160]) == BODY_18.colors[BODY_18.index("right_elbow")]


def test_absent_keypoints_are_not_drawn() -> None:
    drawn = draw_people(canvas(), person({"neck": (300, 200), "right_elbow": (350, 200)}), BODY_18)
    assert not touched(drawn)[:50, :50].any()
    assert not touched(drawn)[200, 320:330].any()  # the shoulder between them is missing, and so are both limbs


def test_helper_limbs_from_shoulder_to_ear_are_not_drawn() -> None:
    drawn = draw_people(canvas(), person({"right_shoulder": (100, 200), "right_ear": (100, 50)}), BODY_18)
    assert not touched(drawn)[120:130].any()


def test_edges_are_smooth() -> None:
    slanted = person({"neck": (50, 60), "right_shoulder": (350, 200)})
    assert len(np.unique(draw_people(canvas(), slanted, BODY_18).reshape(-1, 3), axis=0)) > 20


def test_lines_grow_with_the_person_and_with_the_picture() -> None:
    def area(scale: float, size: int) -> float:
        points = {name: (x * scale, y * scale) for name, (x, y) in ARM.items()}
        return float(touched(draw_people(canvas(size, size), person(points), BODY_18)).sum()) / scale

    assert area(4, 1600) > 2 * area(1, 1600)
    assert area(4, 1600) > area(4, 700)


def test_a_given_thickness_is_used() -> None:
    columns = [touched(draw_people(canvas(), person(ARM), BODY_18, thickness=t))[:, 110].sum() for t in (1, 9, 21)]
    assert columns[0] < columns[1] < columns[2]
    assert columns[2] >= 21


def test_the_surest_person_is_on_top() -> None:
    both = People(
        np.concatenate([person({"neck": (50, 50)}).keypoints, person({"nose": (50, 50)}).keypoints]), np.ones(2)
    )
    assert tuple(draw_people(canvas(), both, BODY_18, thickness=5)[50, 50]) == BODY_18.colors[BODY_18.index("neck")]


@pytest.mark.parametrize("place", [-1e9, -50.0, 1e9, 399.7])
def test_points_outside_the_picture_do_no_harm(place: float) -> None:
    drawn = draw_people(canvas(), person({"neck": (place, place), "right_shoulder": (200, 150)}), BODY_18)
    assert drawn.shape == (300, 400, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    assert draw_people(canvas(shape[1], shape[0]), person(ARM), BODY_18).shape == (*shape, 3)
