"""Who is who over the pictures of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tracking.figures import figure
from service.streams.following import Following
from service.streams.messages import StreamOptions
from shared.assembly import People
from shared.geometry import resize_points
from shared.skeleton import BODY_18

WIDE = (1280, 720)
TRACKED, SMOOTHED = StreamOptions(smooth=False), StreamOptions()


def scene(i: int, size: tuple[int, int], noise: float = 0.0) -> People:
    """Two who walk, as seen in frame i of a picture of this size; the left one's nose is hidden."""
    generator = np.random.default_rng(i)
    persons = [np.column_stack([figure(x + 8 * i, 600, 400, 1, i / 30), np.full(18, 0.8)]) for x in (300, 800)]
    keypoints = np.array(persons)
    keypoints[..., :2] += generator.normal(0, noise, (2, 18, 2))
    keypoints[..., :2] = resize_points(keypoints[..., :2], np.divide(size, WIDE))
    keypoints[0, 0] = 0
    return People(keypoints.astype(np.float32), np.full(2, 0.5, np.float32))


def follow(
    sizes: list[tuple[int, int]], options: StreamOptions, noise: float = 0.0
) -> tuple[list[tuple[int, ...] | None], list[NDArray[np.float32]]]:
    """Ids and keypoints of each frame; keypoints in pixels of the wide picture."""
    following, ids, found = Following(BODY_18), [], []
    for i, size in enumerate(sizes):
        people, of_frame = following.update(scene(i, size, noise), size, i / 30, options)
        assert not people.keypoints[0, 0].any()
        ids.append(of_frame)
        found.append(resize_points(people.keypoints[..., :2], np.divide(WIDE, size))[:, 1:].astype(np.float32))
    return ids, found


@pytest.mark.parametrize("other", [(576, 324), (768, 432), (192, 108), (385, 216), (575, 324)])
def test_people_keep_their_ids_where_pictures_change_their_size(other: tuple[int, int]) -> None:
    sizes = [(384, 216)] * 10 + [other] * 10 + [(384, 216)] * 10
    assert set(follow(sizes, TRACKED)[0]) == {(1, 2)}


def test_smoothing_goes_on_where_pictures_change_their_size() -> None:
    sizes = [(384, 216)] * 10 + [(576, 324)] * 10
    _, expected = follow([(384, 216)] * 20, SMOOTHED, noise=4)
    ids, found = follow(sizes, SMOOTHED, noise=4)
    assert set(ids) == {(1, 2)}
    assert np.abs(np.array(found) - np.array(expected)).max() < 0.01


def test_without_smoothing_people_are_given_as_they_are() -> None:
    following = Following(BODY_18)
    for i, size in enumerate([(384, 216), (576, 324)]):
        people = scene(i, size)
        assert following.update(people, size, i / 30, TRACKED)[0] is people


def test_after_a_turn_of_the_camera_everybody_is_new() -> None:
    following, upright = Following(BODY_18), (216, 384)
    assert following.update(scene(0, WIDE), WIDE, 0.0, SMOOTHED)[1] == (1, 2)
    turned = scene(1, upright)
    people, ids = following.update(turned, upright, 0.03, SMOOTHED)
    assert ids == (3, 4)
    assert np.allclose(people.keypoints, turned.keypoints, atol=1e-3)
    assert following.update(scene(2, WIDE), WIDE, 0.07, SMOOTHED)[1] == (5, 6)
