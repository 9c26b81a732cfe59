"""The wire formats: one frame of results, and the OpenPose and COCO layouts of the same people.

An image's answer, a line of JSON Lines and a stream's reply are all a `Frame`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from shared.assembly import People
from shared.errors import YaopError
from shared.skeleton import BODY_18, Skeleton, body18_to_coco17

OPENPOSE_VERSION = 1.3
COCO_PERSON = 1

_PIXEL_DIGITS = 2
_SCORE_DIGITS = 4

_KEYPOINT_EXAMPLE: JsonDict = {"x": 312.48, "y": 121.07, "score": 0.9132}
_PERSON_EXAMPLE: JsonDict = {
    "id": None,
    "score": 0.7415,
    "bbox": [248.31, 96.4, 131.87, 342.06],
    "keypoints": {"nose": _KEYPOINT_EXAMPLE, "neck": {"x": 309.9, "y": 168.25, "score": 0.8841}, "left_ear": None},
}
_FRAME_EXAMPLE: JsonDict = {
    "index": 0,
    "timestamp": 0.0,
    "width": 640,
    "height": 480,
    "people": [_PERSON_EXAMPLE],
    "model": {"name": "mobilenet_fpn", "version": "1.0.0"},
    "timing_ms": {"decode": 1.9, "engine": 19.4, "assembly": 0.6, "total": 23.0},
}


class LayoutError(YaopError, ValueError):
    """People that cannot be written in a layout, because it is made for another skeleton."""


class Keypoint(BaseModel):
    """One keypoint, in pixels of the upright source picture."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEYPOINT_EXAMPLE]})

    x: float = Field(description="Pixels from the left; 0 is the centre of the first column.")
    y: float = Field(description="Pixels from the top; 0 is the centre of the first row.")
    score: float = Field(description="Confidence, 0 to 1.")


class Person(BaseModel):
    """One person."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PERSON_EXAMPLE]})

    id: int | None = Field(
        default=None, description="The same for one person over a video or stream; null without tracking."
    )
    score: float = Field(
        description="Mean of the squared scores of all labelled keypoints (COCO's 17 without the neck), 0 to 1."
    )
    bbox: tuple[float, float, float, float] = Field(
        description="Tight box of the keypoints that are there: [x, y, width, height] in pixels."
    )
    keypoints: dict[str, Keypoint | None] = Field(
        description="Every keypoint of the model's skeleton by name; null where it was not seen."
    )


class ModelRef(BaseModel):
    """The model that gave a result."""

    name: str = Field(description="Name of the model, as in `GET /models`.", examples=["mobilenet_fpn"])
    version: str = Field(description="Version of its bundle.", examples=["1.0.0"])


class Frame(BaseModel):
    """The people in one picture or one frame of a video."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FRAME_EXAMPLE]})

    index: int = Field(default=0, description="Number of the frame in its video or stream; 0 for a picture.")
    timestamp: float = Field(default=0.0, description="Seconds from the start of the video or stream; 0 for a picture.")
    width: int = Field(description="Width of the upright source picture in pixels.")
    height: int = Field(description="Height of the upright source picture in pixels.")
    people: list[Person] = Field(description="Best score first; empty if nobody was found.")
    model: ModelRef
    timing_ms: dict[str, float] = Field(default_factory=dict, description="Milliseconds spent in each stage.")


class OpenPosePerson(BaseModel):
    """One person in OpenPose's layout; numbers come in triples x, y, score, and 0, 0, 0 is not seen."""

    person_id: list[int] = Field(default=[-1], description="The track, or -1 without tracking.")
    pose_keypoints_2d: list[float] = Field(description="18 keypoints in OpenPose's COCO order: 54 numbers.")
    face_keypoints_2d: list[float] = []
    hand_left_keypoints_2d: list[float] = []
    hand_right_keypoints_2d: list[float] = []
    pose_keypoints_3d: list[float] = []
    face_keypoints_3d: list[float] = []
    hand_left_keypoints_3d: list[float] = []
    hand_right_keypoints_3d: list[float] = []


class OpenPoseFrame(BaseModel):
    """A file as OpenPose writes it with `--write_json --model_pose COCO`."""

    version: float = OPENPOSE_VERSION
    people: list[OpenPosePerson]


class CocoResult(BaseModel):
    """One entry of a COCO keypoint results file."""

    image_id: int = Field(description="The picture's id in the data set; 0 unless given.")
    category_id: int = Field(default=COCO_PERSON, description="1: person.")
    keypoints: list[float] = Field(description="17 keypoints in COCO's order, x, y, score each: 51 numbers.")
    score: float = Field(description="The person's score, 0 to 1.")


def frame_from_people(
    people: People,
    skeleton: Skeleton,
    width: int,
    height: int,
    model: ModelRef,
    timing_ms: Mapping[str, float],
    index: int = 0,
    timestamp: float = 0.0,
    ids: Sequence[int | None] | None = None,
) -> Frame:
    """The wire object of one picture's people.

    Args:
        people: in pixels of the upright source picture.
        skeleton: names the keypoints.
        width: of the source picture in pixels.
        height: of the source picture in pixels.
        model: what found them.
        timing_ms: milliseconds by stage.
        index: number of the frame.
        timestamp: seconds from the start.
        ids: one track id per person; None without tracking.
    """
    scores = people.scores.tolist()
    return Frame(
        index=index,
        timestamp=round(timestamp, 6),
        width=width,
        height=height,
        people=[
            _person(keypoints, score, track, skeleton)
            for keypoints, score, track in zip(people.keypoints, scores, ids or [None] * len(scores), strict=True)
        ],
        model=model,
        timing_ms={stage: round(value, 3) for stage, value in timing_ms.items()},
    )


def to_openpose(people: People, skeleton: Skeleton, ids: Sequence[int | None] | None = None) -> dict[str, Any]:
    """The people as OpenPose's ``--write_json --model_pose COCO`` writes them, as a JSON-ready dict.

    Raises:
        LayoutError: the skeleton is not the one of that layout.
    """
    require_body_18(skeleton)
    tracks = ids or [None] * len(people.scores)
    frame = OpenPoseFrame(
        people=[
            OpenPosePerson(person_id=[-1 if track is None else track], pose_keypoints_2d=_flat(keypoints))
            for keypoints, track in zip(people.keypoints, tracks, strict=True)
        ]
    )
    return frame.model_dump()


def to_coco(people: People, image_id: int = 0, skeleton: Skeleton = BODY_18) -> list[dict[str, Any]]:
    """The people as entries of a COCO keypoint results file, JSON-ready.

    Raises:
        LayoutError: the skeleton has no mapping to COCO's 17 keypoints.
    """
    require_body_18(skeleton)
    return [
        CocoResult(image_id=image_id, keypoints=_flat(keypoints), score=round(score, _SCORE_DIGITS)).model_dump()
        for keypoints, score in zip(body18_to_coco17(people.keypoints), people.scores.tolist(), strict=True)
    ]


def require_body_18(skeleton: Skeleton) -> None:
    """Do nothing if people of this skeleton can be written in OpenPose's and COCO's layouts.

    Raises:
        LayoutError: they cannot.
    """
    if skeleton.keypoints != BODY_18.keypoints:
        raise LayoutError(f"the skeleton {skeleton.name} cannot be written in this layout; it needs {BODY_18.name}")


def bounding_box(keypoints: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """Tight box (x, y, width, height) of the present keypoints of ``[K, 3]`` (x, y, score); zeros if none."""
    present = keypoints[keypoints[:, 2] > 0, :2]
    if not len(present):
        return 0.0, 0.0, 0.0, 0.0
    (left, top), (right, bottom) = present.min(axis=0).tolist(), present.max(axis=0).tolist()
    return left, top, right - left, bottom - top


def _person(keypoints: NDArray[np.floating], score: float, track: int | None, skeleton: Skeleton) -> Person:
    x, y, width, height = (round(value, _PIXEL_DIGITS) for value in bounding_box(keypoints))
    points = {
        name: _keypoint(*values) if values[2] > 0 else None
        for name, values in zip(skeleton.keypoints, keypoints.tolist(), strict=True)
    }
    return Person(id=track, score=round(score, _SCORE_DIGITS), bbox=(x, y, width, height), keypoints=points)


def _keypoint(x: float, y: float, score: float) -> Keypoint:
    return Keypoint(x=round(x, _PIXEL_DIGITS), y=round(y, _PIXEL_DIGITS), score=round(score, _SCORE_DIGITS))


def _flat(keypoints: NDArray[np.floating]) -> list[float]:
    """x, y, score of every keypoint in a row, rounded; zeros where it is absent."""
    numbers: list[float] = []
    for x, y, score in keypoints.tolist():
        triple = round(x, _PIXEL_DIGITS), round(y, _PIXEL_DIGITS), round(score, _SCORE_DIGITS)
        numbers += triple if score > 0 else (0.0, 0.0, 0.0)
    return numbers
