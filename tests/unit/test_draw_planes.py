from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from service.media.draw_planes import DrawOptions, draw_on_planes, id_color, poster_jpeg, to_yuv
from service.media.frame import ColorMatrix, VideoFrame
from shared.assembly import People
from shared.drawing import draw_people
from shared.skeleton import BODY_18
from tests import photos

ARM = {"neck": (60.0, 150.0), "right_shoulder": (160.0, 150.0), "right_elbow": (160.0, 250.0)}


def frame_of(image: photos.Image, matrix: ColorMatrix = "bt601") -> VideoFrame:
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return VideoFrame(7, 0.25, 3, width, height, cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420).astype(np.uint8), matrix)


def grey(width: int = 400, height: int = 300) -> VideoFrame:
    return frame_of(np.full((height, width, 3), 90, np.uint8))


def person(points: dict[str, tuple[float, float]]) -> People:
    keypoints = np.zeros((1, 18, 3), np.float32)
    for name, (x, y) in points.items():
        keypoints[0, BODY_18.index(name)] = (x, y, 0.9)
    return People(keypoints, np.array([0.5], np.float32))


def changed(before: VideoFrame, after: VideoFrame) -> NDArray[np.bool_]:
    return (before.planes != after.planes)[: before.planes.shape[0] * 2 // 3]


def test_it_looks_as_on_a_picture() -> None:
    frame = frame_of(cv2.resize(photos.astronaut(), (800, 600)).astype(np.uint8))
    body = person({name: (40 + 700 * (i % 4) / 3, 40 + 500 * (i // 4) / 4) for i, name in enumerate(BODY_18.keypoints)})
    plain = frame.rgb()
    on_planes = draw_on_planes(frame, body, BODY_18).rgb().astype(int)
    on_picture = draw_people(plain, body, BODY_18).astype(int)
    drawn = (on_picture != plain).any(axis=-1).astype(np.uint8)
    assert 0.1 < drawn.mean() < 0.6
    far = cv2.dilate(drawn, np.ones((7, 7))) == 0
    np.testing.assert_array_equal(on_planes[far], plain[far])
    apart = np.abs(on_planes - on_picture)[drawn > 0].mean()
    assert apart < 0.1 * np.abs(plain.astype(int) - on_picture)[drawn > 0].mean()


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_joints_and_limbs_have_their_colours(matrix: ColorMatrix) -> None:
    frame = frame_of(np.full((300, 400, 3), 90, np.uint8), matrix)
    drawn = draw_on_planes(frame, person(ARM), BODY_18, DrawOptions(thickness=9)).rgb().astype(int)
    for name, (x, y) in ARM.items():
        np.testing.assert_allclose(drawn[int(y), int(x)], BODY_18.colors[BODY_18.index(name)], atol=4)
    np.testing.assert_allclose(drawn[150, 110], BODY_18.colors[BODY_18.index("right_shoulder")], atol=4)


def test_the_frame_itself_is_not_drawn_on() -> None:
    frame = grey()
    before = frame.planes.copy()
    drawn = draw_on_planes(frame, person(ARM), BODY_18, DrawOptions(boxes=True), [1])
    np.testing.assert_array_equal(frame.planes, before)
    assert not np.shares_memory(drawn.planes, frame.planes)
    assert (drawn.index, drawn.timestamp, drawn.pts, drawn.width, drawn.height) == (7, 0.25, 3, 400, 300)


def test_nobody_leaves_an_equal_copy() -> None:
    frame = grey()
    np.testing.assert_array_equal(draw_on_planes(frame, People.none(BODY_18), BODY_18).planes, frame.planes)


def test_a_black_background_hides_the_picture() -> None:
    frame = frame_of(photos.astronaut())
    drawn = draw_on_planes(frame, person(ARM), BODY_18, DrawOptions(background="black")).rgb()
    assert drawn[400:].max() == 0
    assert drawn[150, 110].max() > 200
    alone = draw_on_planes(frame, People.none(BODY_18), BODY_18, DrawOptions(background="black")).rgb()
    assert alone.max() == 0


def test_what_is_switched_off_is_not_drawn() -> None:
    frame = grey()
    off = DrawOptions(skeletons=False, ids=False)
    np.testing.assert_array_equal(draw_on_planes(frame, person(ARM), BODY_18, off, [1]).planes, frame.planes)


def test_a_box_surrounds_the_keypoints_in_the_colour_of_the_id() -> None:
    options = DrawOptions(skeletons=False, ids=False, boxes=True, thickness=4)
    drawn = draw_on_planes(grey(), person(ARM), BODY_18, options, [2]).rgb().astype(int)
    for x, y in [(110, 151), (61, 200), (159, 200), (110, 249)]:
        np.testing.assert_allclose(drawn[y, x], id_color(2), atol=4)
    assert abs(int(drawn[200, 110].mean()) - 90) < 3
    assert abs(int(drawn[200, 180].mean()) - 90) < 3


def test_ids_have_tags_and_people_without_an_id_have_none() -> None:
    options = DrawOptions(skeletons=False)
    frame = grey()
    tags = [changed(frame, draw_on_planes(frame, person(ARM), BODY_18, options, [i])) for i in (None, 1, 111)]
    assert not tags[0].any()
    rows, columns = np.nonzero(tags[1])
    assert rows.max() < 150  # over the head
    assert 60 < columns.mean() < 160
    assert tags[2].sum() > 1.3 * tags[1].sum()
    assert not np.array_equal(*(draw_on_planes(frame, person(ARM), BODY_18, options, [i]).planes for i in (1, 7)))


@pytest.mark.parametrize("place", [(2.0, 2.0), (398.0, 2.0), (398.0, 298.0), (-500.0, -500.0)])
def test_a_tag_stays_inside_the_picture(place: tuple[float, float]) -> None:
    frame = grey()
    tag = changed(frame, draw_on_planes(frame, person({"neck": place}), BODY_18, DrawOptions(skeletons=False), [88]))
    whole = changed(frame, draw_on_planes(frame, person(ARM), BODY_18, DrawOptions(skeletons=False), [88]))
    assert abs(int(tag.sum()) - int(whole.sum())) < 0.25 * whole.sum()


def test_neighbouring_ids_have_different_colours_and_each_keeps_its_own() -> None:
    colors = [id_color(number) for number in range(1, 9)]
    assert len(set(colors)) == 8
    assert id_color(3) == id_color(3)
    apart = [np.abs(np.subtract(*pair)).max() for pair in pairwise(colors)]
    assert min(apart) > 60


def test_the_surest_person_is_on_top() -> None:
    keypoints = np.concatenate([person({"neck": (50, 50)}).keypoints, person({"nose": (50, 50)}).keypoints])
    both = People(keypoints, np.ones(2, np.float32))
    drawn = draw_on_planes(grey(), both, BODY_18, DrawOptions(thickness=9)).rgb()
    np.testing.assert_allclose(drawn[50, 50], BODY_18.colors[BODY_18.index("neck")], atol=4)


@pytest.mark.parametrize("place", [-1e9, -50.0, 1e9, 399.7])
def test_points_outside_the_picture_do_no_harm(place: float) -> None:
    people = person({"neck": (place, place), "right_shoulder": (200, 150)})
    assert draw_on_planes(grey(), people, BODY_18, DrawOptions(boxes=True), [1]).planes.shape == (450, 400)


@pytest.mark.parametrize("size", [(1, 1), (1, 501), (501, 1), (33, 21)])
def test_tiny_and_odd_pictures(size: tuple[int, int]) -> None:
    frame = grey(*size)
    assert draw_on_planes(frame, person(ARM), BODY_18, DrawOptions(boxes=True), [1]).planes.shape == frame.planes.shape


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colours_survive_the_way_to_yuv_and_back(matrix: ColorMatrix) -> None:
    for color in BODY_18.colors:
        luma, blue, red = to_yuv(color, matrix)
        planes = np.repeat(np.array([luma] * 4 + [blue, red], np.uint8), 4).reshape(6, 4)
        frame = VideoFrame(0, 0.0, 0, 4, 4, planes, matrix)
        np.testing.assert_allclose(frame.rgb()[1, 1].astype(int), color, atol=3)


def test_a_poster_is_a_small_jpeg() -> None:
    frame = frame_of(cv2.resize(photos.group(3), (1279, 721)).astype(np.uint8))
    image = cv2.imdecode(np.frombuffer(poster_jpeg(frame), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == (361, 640)
    small = cv2.cvtColor(cv2.resize(frame.rgb(), (640, 361), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    assert np.abs(image.astype(int) - small).mean() < 4


def test_a_poster_is_never_larger_than_the_frame() -> None:
    image = cv2.imdecode(np.frombuffer(poster_jpeg(grey(33, 21)), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape[:2] == (21, 33)
