from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from shared.assembly import People
from shared.schema import CocoResult, Frame, ModelRef, OpenPoseFrame, frame_from_people, to_coco, to_openpose
from shared.skeleton import BODY_18, COCO_17_KEYPOINTS, Skeleton

MODEL = ModelRef(name="mobilenet_fpn", version="1.0.0")


@pytest.fixture
def people() -> People:
    """Two people; the second has no neck and no left ear."""
    generator = np.random.default_rng(3)
    keypoints = (generator.random((2, 18, 3)) * [640, 480, 0.9] + [0, 0, 0.1]).astype(np.float32)
    keypoints[1, [BODY_18.index("neck"), BODY_18.index("left_ear")]] = 0
    return People(keypoints, np.array([0.91237, 0.5], np.float32))


@pytest.fixture
def nobody() -> People:
    return People.none(BODY_18)


def frame(people: People, **changes: Any) -> dict[str, Any]:
    built = frame_from_people(people, BODY_18, 640, 480, MODEL, {"engine": 19.43219}, **changes)
    return json.loads(built.model_dump_json())


def test_a_frame_has_the_agreed_layout(people: People) -> None:
    content = frame(people)
    assert list(content) == ["index", "timestamp", "width", "height", "people", "model", "timing_ms"]
    first, second = content["people"]
    assert list(first) == ["id", "score", "bbox", "keypoints"]
    assert list(first["keypoints"]) == list(BODY_18.keypoints)
    assert first["id"] is None
    assert second["keypoints"]["neck"] is None
    assert list(first["keypoints"]["nose"]) == ["x", "y", "score"]
    assert content["model"] == {"name": "mobilenet_fpn", "version": "1.0.0"}
    assert (content["index"], content["timestamp"], content["width"], content["height"]) == (0, 0.0, 640, 480)
    assert content["timing_ms"] == {"engine": 19.432}


def test_numbers_are_rounded_and_close(people: People) -> None:
    content = frame(people)
    assert content["people"][0]["score"] == 0.9124
    for person, keypoints in zip(content["people"], people.keypoints, strict=True):
        for point, (x, y, score) in zip(person["keypoints"].values(), keypoints, strict=True):
            if point is None:
                continue
            assert point == {"x": round(point["x"], 2), "y": round(point["y"], 2), "score": round(point["score"], 4)}
            assert abs(point["x"] - x) <= 0.0051
            assert abs(point["y"] - y) <= 0.0051
            assert abs(point["score"] - score) <= 0.000051


def test_the_box_is_tight_around_the_present_keypoints() -> None:
    keypoints = np.zeros((1, 18, 3), np.float32)
    keypoints[0, 3], keypoints[0, 7], keypoints[0, 9] = (100, 50, 0.5), (40.25, 80, 0.4), (60, 20.5, 0.1)
    content = frame(People(keypoints, np.array([0.1], np.float32)))
    assert content["people"][0]["bbox"] == [40.25, 20.5, 59.75, 59.5]


def test_track_ids_index_and_time_are_carried(people: People) -> None:
    content = frame(people, index=7, timestamp=0.28, ids=[4, None])
    assert [person["id"] for person in content["people"]] == [4, None]
    assert (content["index"], content["timestamp"]) == (7, 0.28)


def test_a_frame_is_read_back_from_its_json(people: People, nobody: People) -> None:
    for someone in (people, nobody):
        built = frame_from_people(someone, BODY_18, 640, 480, MODEL, {})
        assert Frame.model_validate_json(built.model_dump_json()) == built


def test_nobody_is_an_empty_list_in_every_format(nobody: People) -> None:
    assert frame(nobody)["people"] == []
    assert to_openpose(nobody, BODY_18) == {"version": 1.3, "people": []}
    assert to_coco(nobody) == []


def test_openpose_json_is_laid_out_as_openpose_does(people: People) -> None:
    content = to_openpose(people, BODY_18)
    assert list(content) == ["version", "people"]
    assert content["version"] == 1.3
    assert list(content["people"][0]) == [
        "person_id", "pose_keypoints_2d",
        "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d",
        "pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d",
    ]  # fmt: skip
    assert all(content["people"][0][key] == [] for key in list(content["people"][0])[2:])
    assert content["people"][0]["person_id"] == [-1]
    for person, keypoints in zip(content["people"], people.keypoints, strict=True):
        assert len(person["pose_keypoints_2d"]) == 54
        np.testing.assert_allclose(person["pose_keypoints_2d"], keypoints.ravel(), atol=0.0051)
    neck = 3 * BODY_18.index("neck")
    assert content["people"][1]["pose_keypoints_2d"][neck : neck + 3] == [0, 0, 0]
    assert json.loads(json.dumps(content)) == content
    OpenPoseFrame.model_validate(content)


def test_openpose_json_carries_track_ids(people: People) -> None:
    assert [person["person_id"] for person in to_openpose(people, BODY_18, ids=[5, None])["people"]] == [[5], [-1]]


def test_coco_results_are_in_cocos_order(people: People) -> None:
    results = to_coco(people, image_id=42)
    assert [list(result) for result in results] == [["image_id", "category_id", "keypoints", "score"]] * 2
    assert [(result["image_id"], result["category_id"]) for result in results] == [(42, 1)] * 2
    assert [result["score"] for result in results] == [0.9124, 0.5]
    for result, keypoints in zip(results, people.keypoints, strict=True):
        expected = np.concatenate([keypoints[BODY_18.index(name)] for name in COCO_17_KEYPOINTS])
        np.testing.assert_allclose(result["keypoints"], expected, atol=0.0051)
        CocoResult.model_validate(result)
    assert to_coco(people)[0]["image_id"] == 0


def test_other_skeletons_are_refused_where_the_layout_is_fixed(people: People) -> None:
    other = Skeleton("dot", ("dot",), (), (0,), (0.1,), ((0, 0, 0),))
    with pytest.raises(ValueError, match="the skeleton dot cannot be written"):
        to_openpose(people, other)
    with pytest.raises(ValueError, match="the skeleton dot cannot be written"):
        to_coco(people, skeleton=other)


def test_the_documented_examples_are_valid() -> None:
    schema = Frame.model_json_schema()
    for example in schema["examples"]:
        Frame.model_validate(example)
    described = {**schema["properties"], **schema["$defs"]["Person"]["properties"]}
    assert all("description" in described[name] for name in ("people", "width", "bbox", "keypoints", "score", "id"))
