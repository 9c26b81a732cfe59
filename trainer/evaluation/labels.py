"""What is true about a data set, in the form that COCO's evaluation takes.

Only keypoints that both the annotations' category and the skeleton name are evaluated, in the annotations' order; for
COCO's own files and BODY_18 that is COCO's evaluation unchanged. Derived keypoints (BODY_18's neck) never count. The
category is ``person``, or else the first one that names keypoints.

Unlike training, which mends and skips, an evaluation refuses what is malformed: its numbers are compared with others'.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from shared.skeleton import COCO_17_KEYPOINTS, Skeleton
from trainer.data.coco import DatasetError, Record

Keypoints = NDArray[np.float64]
"""``[J, 3]``: x and y in pixels of the upright picture, and the score; all three are 0 where a keypoint is absent."""


class Picture(NamedTuple):
    """A picture of the data set: its id in the annotations and its file."""

    id: int
    path: Path


class Found(NamedTuple):
    """Somebody who was found: the evaluated keypoints, in the labels' order, and how sure that is."""

    keypoints: Keypoints
    score: float


@dataclass(frozen=True)
class Labels:
    """The labelled people of a data set.

    Attributes:
        pictures: those to look at, by ascending id.
        annotations: of these pictures, as COCO writes them, with the evaluated keypoints only.
        names: of the evaluated keypoints, J of them.
        sigmas: OKS fall-off of each.
        columns: for each evaluated keypoint its place in the annotation file.
        width: number of keypoints in the annotation file.
        category: id of the people's category.
        known: file names of all pictures in the file by id, also of those that are left out by a limit.
    """

    pictures: tuple[Picture, ...]
    annotations: tuple[dict[str, Any], ...]
    names: tuple[str, ...]
    sigmas: tuple[float, ...]
    columns: tuple[int, ...]
    width: int
    category: int
    known: dict[int, str]

    @cached_property
    def people(self) -> int:
        """How many people count: labelled with an evaluated keypoint, and no crowd."""
        return sum(bool(entry["num_keypoints"]) and not entry["iscrowd"] for entry in self.annotations)

    def coco(self, annotations: Iterable[dict[str, Any]]) -> COCO:
        """These annotations (or results) of the pictures, indexed for COCO's evaluation."""
        indexed: Any = COCO()
        indexed.dataset = {
            "images": [{"id": picture.id} for picture in self.pictures],
            "categories": [{"id": self.category, "name": "person"}],
            "annotations": list(annotations),
        }
        with contextlib.redirect_stdout(io.StringIO()):
            indexed.createIndex()
        return indexed

    def order(self, skeleton: Skeleton) -> list[int]:
        """For each evaluated keypoint its index in the skeleton."""
        return [skeleton.index(name) for name in self.names]


def load_labels(annotations: Path, images: Path, skeleton: Skeleton, limit: int | None = None) -> Labels:
    """Read a COCO keypoint file.

    Args:
        annotations: the JSON file.
        images: folder of its pictures, which are not looked at yet.
        skeleton: whose keypoints can be found.
        limit: at most so many pictures, those with the lowest ids.

    Raises:
        DatasetError: the file is missing or malformed, shares no keypoint with the skeleton, or labels nobody.
    """
    try:
        content = json.loads(annotations.read_bytes())
        category, names = _category(content)
        entries = _pictures(content["images"])
        people = [entry for entry in content["annotations"] if entry.get("category_id", category) == category]
        columns = _columns(names, skeleton)
        kept = entries[:limit]
        labelled = _people(people, {entry["id"] for entry in entries}, names, columns)
    except OSError as error:
        raise DatasetError(f"{annotations}: {error.strerror or error}") from error
    except DatasetError as error:
        raise DatasetError(f"{annotations}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{annotations}: not a COCO keypoint file ({error!r})") from error
    ids = {entry["id"] for entry in kept}
    labels = Labels(
        pictures=tuple(Picture(entry["id"], images / entry["file_name"]) for entry in kept),
        annotations=tuple(_numbered([entry | {"category_id": category} for entry in labelled], ids)),
        names=tuple(names[column] for column in columns),
        sigmas=tuple(skeleton.sigmas[skeleton.index(names[column])] for column in columns),
        columns=tuple(columns),
        width=len(names),
        category=category,
        known={entry["id"]: entry["file_name"] for entry in entries},
    )
    if not labels.people:
        raise DatasetError(f"{annotations}: nobody is labelled in {len(kept)} pictures")
    return labels


def labels_of_records(records: Sequence[Record], skeleton: Skeleton) -> Labels:
    """The labels of training records, so that a model can be measured on what it learns from.

    Raises:
        DatasetError: nobody is labelled.
    """
    order = skeleton.labelled
    labels = Labels(
        pictures=tuple(Picture(number, record.image) for number, record in enumerate(records, start=1)),
        annotations=tuple(
            _numbered(
                [entry for number, record in enumerate(records, start=1) for entry in _entries(number, record, order)]
            )
        ),
        names=tuple(skeleton.keypoints[i] for i in order),
        sigmas=tuple(skeleton.sigmas[i] for i in order),
        columns=tuple(range(len(order))),
        width=len(order),
        category=1,
        known={number: record.image.name for number, record in enumerate(records, start=1)},
    )
    if not labels.people:
        raise DatasetError(f"nobody is labelled in {len(records)} pictures")
    return labels


def _entries(number: int, record: Record, order: Sequence[int]) -> list[dict[str, Any]]:
    keypoints = record.keypoints[:, list(order)].astype(np.float64)
    people = [
        _annotation(number, points, box.tolist(), float(area))
        for points, box, area in zip(keypoints, record.boxes, record.areas, strict=True)
    ]
    nothing = np.zeros((len(order), 3))
    return people + [_annotation(number, nothing, box.tolist(), float(box[2] * box[3])) for box in record.ignored]


def _category(content: dict[str, Any]) -> tuple[int, list[str]]:
    """Id of the people's category and the names of its keypoints."""
    categories = content["categories"]
    named = [entry for entry in categories if entry.get("name") == "person"]
    named += [entry for entry in categories if entry.get("keypoints")]
    if not named:
        raise DatasetError("no category is called person or has keypoints")
    names = named[0].get("keypoints") or COCO_17_KEYPOINTS
    if len(set(names)) != len(names):
        raise DatasetError("the category names a keypoint twice")
    return named[0]["id"], list(names)


def _columns(names: Sequence[str], skeleton: Skeleton) -> list[int]:
    own = {skeleton.keypoints[i] for i in skeleton.labelled}
    columns = [column for column, name in enumerate(names) if name in own]
    if not columns:
        raise DatasetError(
            f"no keypoint of the skeleton {skeleton.name} is in the annotations, which have: {', '.join(names[:20])}"
        )
    return columns


def _pictures(entries: Any) -> list[dict[str, Any]]:
    for entry in entries:
        if not isinstance(entry["id"], int) or not isinstance(entry["file_name"], str):
            raise DatasetError(f"picture {entry['id']!r}: id must be an integer and file_name a text")
    if not entries:
        raise DatasetError("lists no pictures")
    ordered = sorted(entries, key=lambda entry: entry["id"])
    twice = [b["id"] for a, b in pairwise(ordered) if a["id"] == b["id"]]
    if twice:
        raise DatasetError(f"picture id {twice[0]} is there twice")
    return ordered


def _people(entries: Any, known: set[int], names: Sequence[str], columns: Sequence[int]) -> list[dict[str, Any]]:
    people: list[dict[str, Any]] = []
    for entry in entries:
        where = f"annotation {entry.get('id')}"
        if entry["image_id"] not in known:
            raise DatasetError(f"{where}: no picture has the id {entry['image_id']!r}")
        flat = entry.get("keypoints") or [0] * (3 * len(names))
        if len(flat) != 3 * len(names):
            raise DatasetError(f"{where}: {len(flat)} numbers in keypoints, expected 3 for each of {len(names)}")
        keypoints, box, area = np.array(flat, float).reshape(-1, 3), entry["bbox"], float(entry["area"])
        if not (np.isfinite(keypoints).all() and len(box) == 4 and all(map(math.isfinite, [*box, area]))):
            raise DatasetError(f"{where}: keypoints, bbox (4 of them) and area must be finite numbers")
        people.append(_annotation(entry["image_id"], keypoints[list(columns)], box, area, int(entry.get("iscrowd", 0))))
    return people


def _annotation(picture: int, keypoints: Keypoints, box: list[float], area: float, crowd: int = 0) -> dict[str, Any]:
    """One person as COCO writes it; without labelled keypoints an ignored region."""
    return {
        "image_id": picture,
        "category_id": 1,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "bbox": [float(value) for value in box],
        "area": area,
        "iscrowd": crowd,
    }


def _numbered(entries: list[dict[str, Any]], pictures: set[int] | None = None) -> list[dict[str, Any]]:
    """With ids from 1 on: COCO's evaluation takes an id of 0 for 'no match'."""
    kept = [entry for entry in entries if pictures is None or entry["image_id"] in pictures]
    return [entry | {"id": number} for number, entry in enumerate(kept, start=1)]
