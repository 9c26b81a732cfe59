"""Small folders of records for tests, written by the trainer's own writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.skeleton import BODY_18, Skeleton
from trainer.data.coco import Record
from trainer.data.records import write_records


def person_in(box: Sequence[float], skeleton: Skeleton = BODY_18) -> NDArray[np.float32]:
    """Keypoints ``[K, 3]``, all visible, along a zigzag through the box."""
    x, y, width, height = box
    steps = np.linspace(0.05, 0.95, skeleton.num_keypoints)
    across = 0.5 + 0.4 * np.where(np.arange(len(steps)) % 2, 1, -1)
    return np.stack([x + width * across, y + height * steps, np.full(len(steps), 2)], axis=-1).astype(np.float32)


def make_record(
    path: Path,
    picture: NDArray[np.uint8],
    boxes: Sequence[Sequence[float]] = (),
    *,
    skeleton: Skeleton = BODY_18,
    **changes: Any,
) -> Record:
    """A record of a picture (RGB), which is written to `path`, with one person in each box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    array = np.array(boxes, np.float32).reshape(-1, 4)
    people = [person_in(box, skeleton) for box in boxes]
    fields = {
        "image": path,
        "name": path.name,
        "size": (picture.shape[1], picture.shape[0]),
        "keypoints": np.array(people, np.float32).reshape(-1, skeleton.num_keypoints, 3),
        "boxes": array,
        "areas": array[:, 2] * array[:, 3],
        "ignored": np.zeros((0, 4), np.float32),
        "keypoint_weights": np.ones(skeleton.num_keypoints, np.float32),
        "only_labelled": False,
        "segmentations": (),
    }
    return Record(**(fields | changes))


def numbered_records(folder: Path, count: int, size: int = 48, skeleton: Skeleton = BODY_18) -> list[Record]:
    """Records whose person's box is a different one in each, so that a sample tells where it came from."""
    records = list[Record]()
    for number in range(count):
        generator = np.random.default_rng(number)
        picture = cv2.resize(generator.integers(0, 255, (6, 6, 3), np.uint8), (size, size)).astype(np.uint8)
        box = (4.0, 4.0, size / 2 + number / 4, size / 2)
        records.append(make_record(folder / f"{number}.jpg", picture, [box], skeleton=skeleton))
    return records


def write_folder(
    folder: Path, records: Sequence[Record], *, skeleton: Skeleton = BODY_18, shard_size: int = 1000
) -> str:
    """Write the records there, in this process; returns the folder as an address."""
    write_records(records, str(folder), skeleton=skeleton, shard_size=shard_size, workers=1)
    return str(folder)
