"""Result files of any system: COCO's results format, and OpenPose's folder of JSON files."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shared.skeleton import BODY_18
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.labels import Found, Labels

_OPENPOSE_SUFFIX = "_keypoints.json"


def read_coco_results(path: Path, labels: Labels) -> dict[int, list[Found]]:
    """People by picture id, from a file in COCO's results format.

    That is a list of objects with ``image_id``, ``keypoints`` (x, y and score of every keypoint of the annotations'
    category, in its order) and ``score``; ``category_id``, if it is there, must be that of the people.

    Raises:
        EvaluationError: the file is missing or malformed, or names a picture that the annotations don't have.
    """
    entries = _load(path)
    if not isinstance(entries, list):
        raise EvaluationError(f"{path}: expected a list of results as COCO has it")
    found: dict[int, list[Found]] = defaultdict(list)
    for number, entry in enumerate(entries):
        try:
            picture, person = _coco_result(entry, labels)
        except (EvaluationError, TypeError, ValueError, OverflowError, KeyError) as error:
            reason = f"has no {error}" if isinstance(error, KeyError) else error
            raise EvaluationError(f"{path}: result {number}: {reason}") from error
        found[picture].append(person)
    return found


def read_openpose(folder: Path, labels: Labels) -> dict[int, list[Found]]:
    """People by picture id, from ``STEM_keypoints.json`` files as OpenPose writes them with ``--model_pose COCO``.

    OpenPose gives no score for a person; here it is the mean of the 18 keypoints' scores.

    Args:
        folder: holds a file for every picture (one without people has an empty list), and for no other.
        labels: as loaded with the skeleton BODY_18, which has OpenPose's order.

    Raises:
        EvaluationError: a file is missing, malformed, or belongs to no picture of the annotations.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: no such folder")
    _check_names(folder, labels.known.values())
    found: dict[int, list[Found]] = {}
    for picture in labels.pictures:
        path = folder / f"{picture.path.stem}{_OPENPOSE_SUFFIX}"
        if not path.is_file():
            raise EvaluationError(f"{path}: missing; OpenPose writes one for every picture, people or not")
        found[picture.id] = _openpose_people(path, labels)
    return found


def _check_names(folder: Path, names: Iterable[str]) -> None:
    """Refuse files of unknown pictures, and pictures that would share a file."""
    stems = [Path(name).stem for name in names]
    if len(set(stems)) != len(stems):
        raise EvaluationError(f"{folder}: two pictures of the annotations differ only in folder or suffix")
    for path in sorted(folder.glob(f"*{_OPENPOSE_SUFFIX}")):
        if path.name.removesuffix(_OPENPOSE_SUFFIX) not in stems:
            raise EvaluationError(f"{path}: belongs to no picture of the annotations")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path}: not JSON ({error})") from error


def _coco_result(entry: dict[str, Any], labels: Labels) -> tuple[int, Found]:
    picture = entry["image_id"]
    if picture not in labels.known:
        raise EvaluationError(f"no picture of the annotations has the id {picture!r}")
    if entry.get("category_id", labels.category) != labels.category:
        raise EvaluationError(f"category {entry['category_id']!r} is not that of the people, {labels.category}")
    flat = _finite(entry["keypoints"], 3 * labels.width, f"x, y and score of {labels.width} keypoints")
    (score,) = _finite([entry["score"]], 1, "a score")
    return picture, Found(np.array(flat).reshape(-1, 3)[list(labels.columns)], score)


def _openpose_people(path: Path, labels: Labels) -> list[Found]:
    content = _load(path)
    people: list[Found] = []
    try:
        for person in content["people"]:
            flat = _finite(person["pose_keypoints_2d"], 54, "OpenPose's 18 COCO keypoints (--model_pose COCO)")
            keypoints = np.array(flat).reshape(-1, 3)
            keypoints[keypoints[:, 2] <= 0] = 0
            if keypoints.any():
                people.append(Found(keypoints[labels.order(BODY_18)], float(keypoints[:, 2].mean())))
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path}: not an OpenPose file ({error!r})") from error
    return people


def _finite(values: Any, count: int, what: str) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        given = f"{len(values)} numbers" if isinstance(values, list) else repr(values)[:40]
        raise EvaluationError(f"{given}, expected {count}: {what}")
    numbers = [float(value) for value in values]
    if not all(map(math.isfinite, numbers)):
        raise EvaluationError(f"not finite: {what}")
    return numbers
