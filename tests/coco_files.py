"""Small data sets in COCO's keypoint format, made up, to be spoilt by tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from shared.skeleton import COCO_17_KEYPOINTS
from tests import photos

WIDTH, HEIGHT = 64, 48


def keypoints(x: float = 20, y: float = 10, visibility: int = 2) -> list[float]:
    """17 keypoints down a slope from this point."""
    return [number for i in range(17) for number in (x + i, y + i, visibility)]


def person(number: int, picture: int, **changes: Any) -> dict[str, Any]:
    """The annotation of a labelled person; a change to None removes an entry."""
    annotation = {
        "id": number,
        "image_id": picture,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [18.0, 8.0, 20.0, 22.0],
        "area": 200.0,
        "keypoints": keypoints(),
        "num_keypoints": 17,
    } | changes
    return {name: value for name, value in annotation.items() if value is not None}


def picture(number: int, **changes: Any) -> dict[str, Any]:
    """An entry of the list of pictures."""
    return {"id": number, "file_name": f"{number:03d}.jpg", "width": WIDTH, "height": HEIGHT} | changes


def jpeg(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A JPEG file of noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return photos.encode(noise, "jpeg")


def content(pictures: int = 3, people: int = 1) -> dict[str, Any]:
    """A COCO file with so many pictures, and so many people in each."""
    return {
        "images": [picture(number) for number in range(1, pictures + 1)],
        "annotations": [
            person(100 * number + k, number) for number in range(1, pictures + 1) for k in range(people)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17_KEYPOINTS)}],
    }  # fmt: skip


def write(folder: Path, values: dict[str, Any]) -> tuple[Path, Path]:
    """Write the COCO file and a picture for each of its entries; returns the file and the picture folder."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(values["images"]):
        images.joinpath(entry["file_name"]).write_bytes(jpeg(number))
    annotations = folder / "people.json"
    annotations.write_text(json.dumps(values))
    return annotations, images
