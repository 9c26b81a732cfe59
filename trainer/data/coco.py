"""Datasets in COCO's keypoint format (cocodataset.org, format-data), read into plain records."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.skeleton import coco17_to_body18


class DatasetError(YaopError):
    """A data set that is missing or not in COCO keypoint format; the message names the file."""


@dataclass(frozen=True)
class Record:
    """One picture and what is known about the people in it, in pixels of the stored picture.

    Attributes:
        image: path of the picture.
        keypoints: float32 ``[N, 18, 3]`` BODY_18 keypoints (x, y, COCO visibility) of the labelled people.
        boxes: float32 ``[N, 4]`` their boxes: x, y, width, height.
        ignored: float32 ``[M, 4]`` boxes of people without keypoints and of crowds.
        keypoint_weights: float32 ``[18]``, 0 for keypoints that nobody in this picture could be labelled with.
        only_labelled: the picture may show further people without any mark, so nothing outside of the
            labelled people's boxes is known.
    """

    image: Path
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    ignored: NDArray[np.float32]
    keypoint_weights: NDArray[np.float32]
    only_labelled: bool


def load_records(annotations: Path, images: Path, *, only_labelled: bool = False) -> list[Record]:
    """Read a COCO keypoint file.

    Args:
        annotations: the JSON file.
        images: folder of its pictures.
        only_labelled: see `Record`; then also a keypoint with visibility 0 means 'not annotated' and
            carries no loss, where COCO's means 'not visible'.

    Raises:
        DatasetError: a file is missing or is not in the format.
    """
    try:
        content = json.loads(annotations.read_bytes())
        by_image = defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        return [
            _record(images / image["file_name"], by_image[image["id"]], only_labelled) for image in content["images"]
        ]
    except OSError as error:
        raise DatasetError(f"{annotations}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{annotations}: not a COCO keypoint file ({error!r})") from error


def _record(image: Path, annotations: list[dict], only_labelled: bool) -> Record:
    labelled = [a for a in annotations if a.get("num_keypoints", 0) > 0 and not a.get("iscrowd", 0)]
    ignored = [a["bbox"] for a in annotations if a.get("num_keypoints", 0) == 0 or a.get("iscrowd", 0)]
    coco = np.array([a["keypoints"] for a in labelled], np.float32).reshape(-1, 17, 3)
    keypoints = coco17_to_body18(coco).astype(np.float32)
    known = (keypoints[..., 2] > 0).all(0) if only_labelled else np.ones(keypoints.shape[1], bool)
    return Record(
        image=image,
        keypoints=keypoints,
        boxes=np.array([a["bbox"] for a in labelled], np.float32).reshape(-1, 4),
        ignored=np.array(ignored, np.float32).reshape(-1, 4),
        keypoint_weights=np.asarray(known, np.float32),
        only_labelled=only_labelled,
    )
