from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.live.picture import BgrPixels
from service.live.scaling import Size, encode, sent_size, to_source
from shared.images import decode_image
from shared.schema import Frame, Keypoint, ModelRef, Person
from tests.fake_engine import discs, person_at

MODEL = ModelRef(name="discs", version="1")
SIDES = st.integers(1, 5000)


def frame_with(width: int, height: int, **points: tuple[float, float] | None) -> Frame:
    keypoints = {name: place and Keypoint(x=place[0], y=place[1], score=0.9) for name, place in points.items()}
    there = np.array([place for place in points.values() if place])
    (left, top), (right, bottom) = (there.min(0), there.max(0)) if len(there) else ((0, 0), (0, 0))
    person = Person(id=4, score=0.5, bbox=(left, top, right - left, bottom - top), keypoints=keypoints)
    return Frame(index=3, timestamp=0.5, width=width, height=height, people=[person], model=MODEL)


@pytest.mark.parametrize(
    ("source", "resolution", "sent"),
    [
        (Size(1920, 1080), 256, Size(384, 216)),
        (Size(1080, 1920), 256, Size(216, 384)),
        (Size(640, 480), 512, Size(640, 480)),
        (Size(640, 480), 384, Size(576, 432)),
        (Size(320, 240), 256, Size(320, 240)),
        (Size(4000, 3), 256, Size(384, 1)),
    ],
)
def test_a_picture_is_sent_a_little_larger_than_the_network_and_never_enlarged(
    source: Size, resolution: int, sent: Size
) -> None:
    assert sent_size(source, resolution) == sent


@given(SIDES, SIDES, st.integers(128, 1024))
def test_what_is_sent_keeps_its_shape(width: int, height: int, resolution: int) -> None:
    sent = sent_size(Size(width, height), resolution)
    assert 1 <= sent.width <= width
    assert 1 <= sent.height <= height
    assert max(sent) <= max(1.5 * resolution + 0.5, 1)


def test_the_edges_of_the_sent_picture_are_those_of_the_source() -> None:
    seen = frame_with(320, 240, nose=(-0.5, -0.5), neck=(319.5, 239.5), left_ear=None)
    (person,) = to_source(seen, Size(1280, 960)).people
    nose, neck = person.keypoints["nose"], person.keypoints["neck"]
    assert nose and neck
    assert (nose.x, nose.y) == (-0.5, -0.5)
    assert (neck.x, neck.y) == (1279.5, 959.5)
    assert person.bbox == (-0.5, -0.5, 1280, 960)
    assert person.keypoints["left_ear"] is None
    assert (person.id, person.score, nose.score) == (4, 0.5, 0.9)


def test_both_directions_have_their_own_scale() -> None:
    seen = to_source(frame_with(100, 50, nose=(9.5, 9.5)), Size(200, 75))
    (person,) = seen.people
    assert person.keypoints["nose"] == Keypoint(x=19.5, y=14.5, score=0.9)
    assert (seen.width, seen.height, seen.index, seen.timestamp, seen.model) == (200, 75, 3, 0.5, MODEL)


def test_a_person_without_keypoints_has_an_empty_box_in_the_corner() -> None:
    (person,) = to_source(frame_with(100, 50, nose=None), Size(200, 100)).people
    assert person.bbox == (0, 0, 0, 0)


def test_a_picture_sent_as_it_is_needs_no_change() -> None:
    seen = frame_with(100, 50, nose=(3, 4))
    assert to_source(seen, Size(100, 50)) is seen


def test_what_is_sent_shows_the_picture_in_its_colours() -> None:
    image = discs(640, 480, person_at(320, 300, 160), 30)
    sent = decode_image(encode(BgrPixels(np.ascontiguousarray(image[..., ::-1])), Size(320, 240), 10**6))
    assert sent.shape == (240, 320, 3)
    for (x, y), color in {(160, 150): (0, 255, 0), (160, 70): (255, 0, 0), (80, 150): (0, 0, 255)}.items():
        assert np.abs(sent[y, x].astype(int) - color).max() < 40
