"""Who is who over the frames of a video, wherever the work is cut and whichever frames are looked at."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.jobs.options import VideoOptions
from service.media.frame import VideoFrame
from service.video.annotation import Annotated, Annotation
from service.video.estimating import Estimated
from shared.assembly import People
from shared.schema import ModelRef
from shared.skeleton import BODY_18

PLANES = np.zeros((3, 2), np.uint8)


def frame(index: int) -> VideoFrame:
    return VideoFrame(index, index / 25, index * 10, 640, 480, PLANES)


def person(x: float, score: float = 0.8) -> np.ndarray:
    """Somebody who stands with the neck at (x, 100)."""
    spread = np.arange(18)[:, None] * [3.0, 8.0] + [x, 100.0]
    return np.column_stack([spread, np.full(18, score)]).astype(np.float32)


def people(*xs: float) -> People:
    keypoints = np.stack([person(x) for x in xs]) if xs else np.zeros((0, 18, 3), np.float32)
    return People(keypoints, np.full(len(xs), 0.8, np.float32))


def walk(index: int) -> People:
    """Two people who walk towards each other and are not seen now and then."""
    seen = [(100 + 4.0 * index, index % 7 != 3), (400 - 3.0 * index, index % 5 != 2)]
    return people(*(x for x, is_seen in seen if is_seen))


def annotate(frames: int, options: VideoOptions, cuts: frozenset[int] = frozenset()) -> list[Annotated]:
    """All frames through an annotation, which is put away as JSON and taken up again before the frames in `cuts`."""
    annotation, given, index = Annotation(BODY_18, options), [], 0
    while index < frames:
        if index in cuts and index not in (cuts := cuts - {index}):
            stored = json.loads(json.dumps(annotation.state()))
            annotation = Annotation(BODY_18, options)
            start = annotation.restore(stored)
            index = start.index if start else 0
        looked_at = annotation.looks_at(frame(index))
        given += annotation.feed(Estimated(frame(index), walk(index) if looked_at else None, {}))
        index += 1
    return given + annotation.finish()


def wires(given: list[Annotated]) -> list[dict[str, Any]]:
    return [item.wire(BODY_18, ModelRef(name="m", version="1")).model_dump() for item in given]


@settings(deadline=None)
@given(
    frames=st.integers(0, 40),
    every=st.integers(1, 7),
    cuts=st.frozensets(st.integers(0, 40), max_size=5),
    track=st.booleans(),
    smooth=st.booleans(),
)
def test_each_frame_comes_once_and_the_same_wherever_the_work_was_cut(
    frames: int, every: int, cuts: frozenset[int], track: bool, smooth: bool
) -> None:
    options = VideoOptions(every=every, track=track, smooth=smooth)
    whole = wires(annotate(frames, options))
    assert [item["index"] for item in whole] == list(range(frames))
    assert wires(annotate(frames, options, cuts)) == whole


def test_without_tracking_and_smoothing_people_are_as_they_were_found() -> None:
    for item in annotate(10, VideoOptions(track=False, smooth=False)):
        np.testing.assert_array_equal(item.people.keypoints, walk(item.frame.index).keypoints)
        assert set(item.ids) <= {None}


def test_people_keep_their_ids_though_they_are_not_seen_in_some_frames() -> None:
    given = annotate(30, VideoOptions(smooth=False))
    ids = {i for item in given for i in item.ids}
    assert ids == {1, 2}
    for item in given:
        for identity, keypoints in zip(item.ids, item.people.keypoints, strict=True):
            start, step = ((100, 4.0), (400, -3.0))[(identity or 0) - 1]
            assert keypoints[0, 0] == pytest.approx(start + step * item.frame.index)


def test_frames_between_those_looked_at_are_half_way_between_them() -> None:
    looked_at: list[int] = []
    annotation, given = Annotation(BODY_18, VideoOptions(every=2, smooth=False)), []
    for index in range(5):
        seen = annotation.looks_at(frame(index))
        looked_at += [index] if seen else []
        given += annotation.feed(Estimated(frame(index), people(100 + 4.0 * index) if seen else None, {}))
    given += annotation.finish()
    assert looked_at == [0, 2, 4]
    assert [float(item.people.keypoints[0, 0, 0]) for item in given] == pytest.approx([100, 104, 108, 112, 116])
    assert [item.ids for item in given] == [(1,)] * 5


def test_the_last_frames_keep_the_people_of_the_last_one_looked_at() -> None:
    given = annotate(6, VideoOptions(every=4, smooth=False))
    np.testing.assert_array_equal(given[5].people.keypoints, given[4].people.keypoints)


def test_people_are_counted_once_however_often_they_are_lost_and_mistakes_are_not() -> None:
    annotation = Annotation(BODY_18, VideoOptions(smooth=False))
    for index in range(60):
        found = walk(index)
        if index == 20:  # somebody who is not there
            found = people(100 + 4.0 * index, 620)
        annotation.feed(Estimated(frame(index), found, {}))
        if index == 30:
            stored = json.loads(json.dumps(annotation.state()))
            annotation = Annotation(BODY_18, VideoOptions(smooth=False))
            annotation.restore(stored)
    assert annotation.people_seen == 2
    assert Annotation(BODY_18, VideoOptions(track=False)).people_seen is None
