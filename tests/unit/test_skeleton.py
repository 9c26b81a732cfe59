from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import YaopError
from shared.skeleton import (
    BODY_18,
    COCO_17_KEYPOINTS,
    DEFAULT_SIGMA,
    Skeleton,
    body18_to_coco17,
    coco17_to_body18,
    fill_derived,
    from_names,
    get_skeleton,
    load_skeleton,
)

CRANE: dict[str, Any] = {
    "name": "crane",
    "keypoints": ["hook", "left_tip", "right_tip", "top"],
    "limbs": [["hook", "top"], ["top", "left_tip"], ["top", "right_tip"]],
}


def test_body_18_has_openposes_coco_order() -> None:
    sides = {"R": "right", "L": "left"}
    openpose = (
        "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist "
        "RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar"
    )
    names = [
        name.lower() if name in ("Nose", "Neck") else f"{sides[name[0]]}_{name[1:].lower()}"
        for name in openpose.split()
    ]
    assert list(BODY_18.keypoints) == names
    assert (BODY_18.num_keypoints, BODY_18.num_limbs) == (18, 19)


def test_limbs_join_neighbours_and_reach_every_keypoint() -> None:
    assert len(set(BODY_18.limbs)) == 19
    assert {index for limb in BODY_18.limbs for index in limb} == set(range(18))
    sides = [{name.split("_")[0] for name in (BODY_18.keypoints[a], BODY_18.keypoints[b])} for a, b in BODY_18.limbs]
    assert not any({"left", "right"} <= side for side in sides)


def test_flips_swap_left_and_right() -> None:
    for name, flip in zip(BODY_18.keypoints, BODY_18.flips, strict=True):
        mirrored = BODY_18.keypoints[flip]
        assert {name, mirrored} in ({name}, {name.replace("left_", "right_"), name.replace("right_", "left_")})
        assert ("_" in name) == (name != mirrored)


def test_paf_flips_turn_the_field_of_the_mirrored_picture_back() -> None:
    points = np.random.default_rng(0).random((18, 2))
    mirrored = (points * [-1, 1])[list(BODY_18.flips)]  # what a network names left is on the other side now
    field, mirrored_field = (
        np.concatenate([person[b] - person[a] for a, b in BODY_18.limbs]) for person in (points, mirrored)
    )
    order, signs = BODY_18.paf_flips
    np.testing.assert_allclose(mirrored_field[list(order)] * signs, field)


def test_limb_flips_is_its_own_inverse() -> None:
    assert [BODY_18.limb_flips[i] for i in BODY_18.limb_flips] == list(range(19))


def test_coco_keypoints_survive_the_round_trip() -> None:
    coco = np.random.default_rng(0).random((5, 17, 3)) + 0.1
    np.testing.assert_array_equal(body18_to_coco17(coco17_to_body18(coco)), coco)
    names = np.arange(17)[:, None].repeat(3, axis=1)
    body = coco17_to_body18(names + 1)
    for name, row in zip(BODY_18.keypoints, body, strict=True):
        assert name == "neck" or COCO_17_KEYPOINTS[int(row[0]) - 1] == name


def test_the_neck_lies_between_the_shoulders_if_both_are_there() -> None:
    left, right = (COCO_17_KEYPOINTS.index(f"{side}_shoulder") for side in ("left", "right"))
    coco = np.zeros((17, 3))
    coco[left], coco[right] = (10, 20, 2), (30, 40, 1)
    np.testing.assert_array_equal(coco17_to_body18(coco)[BODY_18.index("neck")], (20, 30, 1))
    coco[right, 2] = 0
    np.testing.assert_array_equal(coco17_to_body18(coco)[BODY_18.index("neck")], (0, 0, 0))


def test_skeletons_are_known_by_name() -> None:
    assert get_skeleton("body_18") is BODY_18
    with pytest.raises(ValueError, match="unknown skeleton 'body_25'; known: body_18"):
        get_skeleton("body_25")


@pytest.mark.parametrize(
    "changes",
    [
        {"sigmas": (0.1,)},
        {"limbs": ((0, 18),)},
        {"limbs": ((1, 2),)},
        {"flips": (1, 2, 0, *range(3, 18))},
        {"keypoints": ("neck", *BODY_18.keypoints[1:])},
        {"derived": (("neck", "nose", "tail"),)},
        {"derived": (("neck", "nose", "left_eye"), ("left_eye", "nose", "left_ear"))},
    ],
    ids=[
        "too few sigmas",
        "unknown keypoint",
        "limb without mirror image",
        "flips not an involution",
        "a name twice",
        "unknown end",
        "derived from a derived one",
    ],
)
def test_inconsistent_skeletons_are_refused(changes: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(ValueError, match="skeleton body_18"):
        replace(BODY_18, **changes)


def test_derived_keypoints_are_filled_where_both_ends_are_and_nothing_is() -> None:
    crane = Skeleton.from_json(CRANE | {"derived": [["top", "left_tip", "right_tip"]]})
    people = np.array([[[1, 1, 2], [10, 20, 2], [30, 40, 1], [0, 0, 0]]] * 3, np.float32)
    people[1, 2, 2] = 0
    people[2, 3] = (7, 8, 1)
    filled = fill_derived(people, crane)
    np.testing.assert_array_equal(filled[:, 3], [(20, 30, 1), (0, 0, 0), (7, 8, 1)])
    np.testing.assert_array_equal(filled[:, :3], people[:, :3])
    assert crane.labelled == (0, 1, 2)


def test_keypoints_are_matched_by_name() -> None:
    crane = Skeleton.from_json(CRANE)
    given = np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3)
    found = from_names(given, ["top", "wheel"], crane)
    np.testing.assert_array_equal(found, [[(0, 0, 0), (0, 0, 0), (0, 0, 0), (1, 2, 3)]])
    with pytest.raises(ValueError, match="2 keypoints with 3 names"):
        from_names(given, ["top", "wheel", "hook"], crane)
    with pytest.raises(ValueError, match="named twice"):
        from_names(given, ["top", "top"], crane)


def test_a_skeleton_survives_json_and_a_file(tmp_path: Path) -> None:
    assert Skeleton.from_json(json.loads(json.dumps(BODY_18.to_json()))) == BODY_18
    (tmp_path / "crane.json").write_text(json.dumps(CRANE))
    crane = load_skeleton(str(tmp_path / "crane.json"))
    assert crane.flips == (0, 2, 1, 3)
    assert crane.sigmas == (DEFAULT_SIGMA,) * 4
    assert len(set(crane.colors)) == 4
    assert Skeleton.from_json(crane.to_json()) == crane
    assert load_skeleton("body_18") is BODY_18


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limbs": []}, "limbs"),
        ({"limbs": [["hook", "wheel"]]}, "no keypoint 'wheel'; there are: hook, left_tip, right_tip, top"),
        ({"limbs": [["top", "left_tip"], ["top", "right_tip"]]}, "no limbs lead from hook to left_tip, right_tip, top"),
        ({"limbs": [*CRANE["limbs"], ["top", "hook"]]}, "a limb is there twice"),
        ({"sigmas": [0.1]}, "sigmas has 1 entries, expected 4"),
        ({"sigmas": [0.1, 0.1, 0.1, 0]}, "sigmas.3: Input should be greater than 0"),
        ({"colors": [[0, 0, 256]] * 4}, "colors.0.2"),
        ({"name": "body_18"}, "the name of a built-in one"),
        ({"name": "../crane"}, "name: String should match"),
        ({"bones": []}, "bones: Extra inputs are not permitted"),
        ({"keypoints": [*CRANE["keypoints"], "top"]}, "named twice"),
    ],
)
def test_wrong_definitions_are_refused_with_the_reason(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Skeleton.from_json(CRANE | changes)
    assert isinstance(caught.value, YaopError)
    assert "\n" not in str(caught.value)


def test_an_unreadable_definition_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "crane.json"
    with pytest.raises(YaopError, match=r"crane\.json: No such file"):
        load_skeleton(str(path))
    path.write_text("{")
    with pytest.raises(YaopError, match=r"crane\.json: Expecting"):
        load_skeleton(str(path))
