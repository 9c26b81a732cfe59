from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.skeleton import BODY_18, COCO_17_KEYPOINTS, body18_to_coco17, coco17_to_body18, get_skeleton


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
    ],
    ids=["too few sigmas", "unknown keypoint", "limb without mirror image", "flips not an involution"],
)
def test_inconsistent_skeletons_are_refused(changes: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(ValueError, match="skeleton body_18"):
        replace(BODY_18, **changes)
