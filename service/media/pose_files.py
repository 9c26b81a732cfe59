"""The people of a video's frames as files: a table, OpenPose's files in a zip archive, COCO results.

All are made from the JSON Lines of a job, frame by frame, so a long video needs no more memory than a short one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from pydantic_core import to_json

from service.media.streamed_zip import zip_stream
from service.wire import PosesFormat
from shared.assembly import People
from shared.schema import Frame, LayoutError, Person, to_coco, to_openpose
from shared.skeleton import BODY_18, Skeleton

CSV_COLUMNS = ("frame", "timestamp", "person", "id", "person_score", "keypoint", "x", "y", "score")

_BUFFER_BYTES = 1 << 16


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of a JSON Lines file, one at a time."""
    with path.open("rb") as lines:
        for line in lines:
            yield Frame.model_validate_json(line)


def require_layout(path: Path, layout: PosesFormat) -> None:
    """Do nothing if the people in a JSON Lines file can be written in this layout.

    Raises:
        LayoutError: their skeleton has no such layout.
    """
    if layout in ("native", "csv"):
        return
    first = next((person for frame in read_frames(path) for person in frame.people), None)
    if first is not None:
        _require_body_18(first)


def csv_stream(frames: Iterable[Frame]) -> Iterator[bytes]:
    """A table with a row for each keypoint that was seen, UTF-8, with a head; frames without people have no row."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for frame in frames:
        writer.writerows(_rows(frame))
        if text.tell() >= _BUFFER_BYTES:
            yield _taken(text)
    yield _taken(text)


def openpose_stream(frames: Iterable[Frame], stem: str) -> Iterator[bytes]:
    """A zip archive of what OpenPose's ``--write_json --model_pose COCO`` writes: a file for each frame.

    They are named as OpenPose names them: ``STEM_000000000000_keypoints.json``.

    Raises:
        LayoutError: the skeleton is not the one of that layout.
    """
    return zip_stream(
        (f"{stem}_{frame.index:012d}_keypoints.json", to_json(to_openpose(*_people(frame)))) for frame in frames
    )


def coco_stream(frames: Iterable[Frame]) -> Iterator[bytes]:
    """One list of COCO results; ``image_id`` is the number of the frame.

    Raises:
        LayoutError: the skeleton has no mapping to COCO's 17 keypoints.
    """
    separator = b"["
    for frame in frames:
        people, skeleton, _ = _people(frame)
        for result in to_coco(people, frame.index, skeleton):
            yield separator + to_json(result)
            separator = b",\n"
    yield b"[]\n" if separator == b"[" else b"]\n"


def _rows(frame: Frame) -> Iterator[tuple[object, ...]]:
    for number, person in enumerate(frame.people):
        track = "" if person.id is None else person.id
        for name, point in person.keypoints.items():
            if point is not None:
                head = frame.index, frame.timestamp, number, track, person.score
                yield *head, name, point.x, point.y, point.score


def _taken(text: io.StringIO) -> bytes:
    data = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return data


def _people(frame: Frame) -> tuple[People, Skeleton, list[int | None]]:
    """The arrays that a frame was made from, as exact as its rounded numbers."""
    keypoints = np.zeros((len(frame.people), BODY_18.num_keypoints, 3), np.float32)
    for row, person in zip(keypoints, frame.people, strict=True):
        _require_body_18(person)
        for index, point in enumerate(person.keypoints.values()):
            if point is not None:
                row[index] = point.x, point.y, point.score
    scores = np.array([person.score for person in frame.people], np.float32)
    return People(keypoints, scores), BODY_18, [person.id for person in frame.people]


def _require_body_18(person: Person) -> None:
    if tuple(person.keypoints) != BODY_18.keypoints:
        raise LayoutError(f"the skeleton of this video cannot be written in this layout; it needs {BODY_18.name}")
