from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.tracking.figures import figure
from benchmarks.tracking.scenes import crowded
from service.tracking.tracked import Tracked, TrackingStateError
from service.tracking.tracker import Tracker, TrackerOptions
from shared.assembly import People
from shared.skeleton import BODY_18, Skeleton

FPS = 30
HEIGHT = 200.0


def walker(
    x: float, time: float, *, speed: float = 0.0, height: float = HEIGHT, ground: float = 400.0
) -> NDArray[np.float32]:
    """Keypoints ``[18, 3]`` of somebody who is at x, walking."""
    heading = float(np.arctan(speed / height * 5))
    return np.column_stack([figure(x, ground, height, heading, time), np.full(18, 0.8)]).astype(np.float32)


def people(*persons: NDArray[np.float32]) -> People:
    keypoints = np.array(persons, np.float32).reshape(len(persons), 18, 3)
    return People(keypoints, np.full(len(persons), 0.5, np.float32))


def follow(tracker: Tracker, frames: Sequence[People], fps: float = FPS, start: float = 0.0) -> list[tuple[int, ...]]:
    return [tracker.update(frame, start + i / fps).ids for i, frame in enumerate(frames)]


def test_people_keep_their_ids_in_any_order_and_come_back_as_they_were() -> None:
    tracker = Tracker(BODY_18)
    left, right = walker(100, 0), walker(500, 0)
    assert tracker.update(people(left, right), 0.0).ids == (1, 2)
    frame = people(right, left)
    tracked = tracker.update(frame, 0.04)
    assert tracked.ids == (2, 1)
    assert tracked.people is frame


def test_a_new_person_gets_a_new_id_and_none_is_given_twice() -> None:
    tracker = Tracker(BODY_18, TrackerOptions(max_lost_seconds=0.5))
    ids = [tracker.update(people(walker(300, 0)), 10.0 * i).ids[0] for i in range(4)]
    assert ids == [1, 2, 3, 4]


def test_nobody_is_nobody() -> None:
    tracker = Tracker(BODY_18)
    assert tracker.update(People.none(BODY_18), 0.0).ids == ()
    assert tracker.update(people(walker(100, 0)), 0.1).ids == (1,)
    assert tracker.update(People.none(BODY_18), 0.2).ids == ()


@pytest.mark.parametrize("hidden", [0.2, 0.6, 1.0])
def test_a_walker_keeps_the_id_behind_a_pillar(hidden: float) -> None:
    tracker, speed = Tracker(BODY_18), 150.0
    times = np.arange(0, 2 + hidden, 1 / FPS)
    seen = [(time < 1) | (time >= 1 + hidden) for time in times]
    frames = [
        people(walker(50 + speed * time, time, speed=speed)) if there else People.none(BODY_18)
        for time, there in zip(times, seen, strict=True)
    ]
    ids = follow(tracker, frames)
    assert {id_ for of_frame in ids for id_ in of_frame} == {1}


def test_somebody_who_appears_elsewhere_is_somebody_else() -> None:
    tracker = Tracker(BODY_18)
    follow(tracker, [people(walker(100, i / FPS)) for i in range(FPS)])
    assert tracker.update(people(walker(450, 0)), 1.2).ids == (2,)


def test_ids_survive_a_crossing_in_which_one_is_hidden() -> None:
    tracker = Tracker(BODY_18)
    ids: list[tuple[int, ...]] = []
    for i in range(4 * FPS):
        time = i / FPS
        one, two = walker(100 + 110 * time, time, speed=110), walker(540 - 110 * time, time + 0.3, speed=-110)
        hidden = abs((100 + 110 * time) - (540 - 110 * time)) < 60
        ids.append(tracker.update(people(one) if hidden else people(one, two), time).ids)
    assert ids[0] == ids[-1] == (1, 2)
    assert {of_frame[0] for of_frame in ids} == {1}


@pytest.mark.parametrize("scale", [0.2, 1.0, 6.0])
def test_the_resolution_makes_no_difference(scale: float) -> None:
    generator = np.random.default_rng(3)
    moments = crowded(generator, 5).play(generator)[:90]
    small, large = Tracker(BODY_18), Tracker(BODY_18)
    for moment in moments:
        scaled = moment.found.keypoints * np.array([scale, scale, 1], np.float32)
        ids = small.update(moment.found, moment.timestamp).ids
        assert large.update(People(scaled, moment.found.scores), moment.timestamp).ids == ids


@pytest.mark.parametrize("fps", [5, 12, 60])
def test_a_runner_is_followed_at_any_frame_rate(fps: int) -> None:
    tracker, speed = Tracker(BODY_18), 300.0
    frames = [people(walker(speed * i / fps, i / fps, speed=speed)) for i in range(2 * fps)]
    assert set(follow(tracker, frames, fps)) == {(1,)}


def test_a_picture_a_second_is_enough_for_somebody_who_stands() -> None:
    assert set(follow(Tracker(BODY_18), [people(walker(300 + i, 0)) for i in range(10)], fps=1)) == {(1,)}


def test_uneven_times_between_frames_do_no_harm() -> None:
    tracker = Tracker(BODY_18)
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 60))
    ids = {tracker.update(people(walker(200 * time, time, speed=200)), float(time)).ids for time in times}
    assert ids == {(1,)}


def test_half_a_person_is_still_that_person() -> None:
    tracker = Tracker(BODY_18)
    upper = np.array([not name.endswith(("hip", "knee", "ankle")) for name in BODY_18.keypoints])[:, None]
    whole = walker(300, 0)
    ids = follow(tracker, [people(whole), people(whole * upper), people(whole * ~upper), people(whole)])
    assert set(ids) == {(1,)}


def test_a_find_of_one_frame_is_soon_forgotten_and_a_person_is_not() -> None:
    tracker = Tracker(BODY_18)
    for i in range(FPS):
        found = [walker(100, 0), walker(500, 0)] if i == FPS - 1 else [walker(100, 0)]
        tracker.update(people(*found), i / FPS)
    assert tracker.update(people(walker(100, 0)), 1.5).ids == (1,)
    assert tracker.update(people(walker(100, 0), walker(500, 0)), 2.0).ids == (1, 3)


def test_timestamps_that_stand_still_or_go_back_do_no_harm() -> None:
    tracker = Tracker(BODY_18)
    assert [tracker.update(people(walker(100, 0)), time).ids for time in (1.0, 1.0, 0.5, 0.5, 1.5)] == [(1,)] * 5


def test_time_that_went_back_is_not_counted_twice() -> None:
    tracker = Tracker(BODY_18)
    follow(tracker, [people(walker(100, 0))] * FPS)  # for a second
    for time in (1.1, 0.2, 2.8):
        assert tracker.update(People.none(BODY_18), time).ids == ()
    assert tracker.update(people(walker(100, 0)), 2.9).ids == (1,)


def test_a_clock_that_was_set_back_is_followed() -> None:
    tracker = Tracker(BODY_18)
    follow(tracker, [people(walker(100, 0))] * FPS, start=1000.0)
    follow(tracker, [people(walker(100, 0))] * FPS, start=0.0)
    tracker.update(People.none(BODY_18), 1.1)
    assert tracker.update(people(walker(100, 0)), 4.0).ids == (2,)


def test_people_of_one_keypoint_or_of_none_do_no_harm() -> None:
    tracker = Tracker(BODY_18)
    point = np.zeros((18, 3), np.float32)
    point[0] = (50, 60, 0.4)
    ids = follow(tracker, [people(point, np.zeros((18, 3), np.float32)) for _ in range(5)])
    assert {of_frame[0] for of_frame in ids} == {1}
    assert len({of_frame[1] for of_frame in ids}) == 5


def test_a_skeleton_of_ones_own_is_followed() -> None:
    skeleton = Skeleton.from_json({"name": "stick", "keypoints": ["low", "high"], "limbs": [["low", "high"]]})
    tracker = Tracker(skeleton)
    for i in range(20):
        keypoints = np.array([[[5 * i, 100, 0.9], [5 * i, 20, 0.9]]], np.float32)
        assert tracker.update(People(keypoints, np.ones(1, np.float32)), i / 20).ids == (1,)


@pytest.mark.parametrize("broken", [1, 17, 80])
def test_a_restored_tracker_goes_on_identically(broken: int) -> None:
    generator = np.random.default_rng(9)
    moments = crowded(generator, 6).play(generator)[:120]
    whole, first, second = Tracker(BODY_18), Tracker(BODY_18), Tracker(BODY_18)
    expected = [whole.update(moment.found, moment.timestamp).ids for moment in moments]
    for moment in moments[:broken]:
        first.update(moment.found, moment.timestamp)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert [second.update(moment.found, moment.timestamp).ids for moment in moments[broken:]] == expected[broken:]
    assert second.state() == whole.state()


def test_the_state_of_a_new_tracker_can_be_restored() -> None:
    tracker = Tracker(BODY_18)
    tracker.restore(json.loads(json.dumps(Tracker(BODY_18).state())))
    assert tracker.update(people(walker(100, 0)), 0.0).ids == (1,)


def test_a_state_that_is_none_or_of_another_skeleton_is_refused_and_changes_nothing() -> None:
    stick = Skeleton.from_json({"name": "stick", "keypoints": ["low", "high"], "limbs": [["low", "high"]]})
    other = Tracker(stick)
    other.update(People(np.ones((1, 2, 3), np.float32), np.ones(1, np.float32)), 0.0)
    tracker = Tracker(BODY_18)
    tracker.update(people(walker(100, 0)), 0.0)
    before = tracker.state()
    for wrong in ({}, {"next_id": 2, "timestamp": 0.0, "tracks": {}}, other.state()):
        with pytest.raises(TrackingStateError, match="not the state of a tracker"):
            tracker.restore(wrong)
    assert tracker.state() == before


def test_what_is_followed_does_not_grow_without_end() -> None:
    tracker, generator = Tracker(BODY_18), np.random.default_rng(0)
    for i in range(200):
        tracker.update(people(walker(float(generator.uniform(0, 5000)), 0)), i / FPS)
    assert len(tracker.state()["tracks"]["ids"]) < 2 * FPS


def test_tracked_is_what_it_says() -> None:
    tracked = Tracker(BODY_18).update(people(walker(100, 0)), 0.0)
    assert isinstance(tracked, Tracked)
    assert all(type(id_) is int for id_ in tracked.ids)
