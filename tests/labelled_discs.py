"""Pictures that `tests.fake_engine` understands, with labels: what a service on that engine finds is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests import photos
from tests.fake_engine import discs, person_at

KEYPOINTS = ("right_shoulder", "nose")  # of those that the engine can see, the labelled ones; an order of their own
SIZE = (640, 480)
NECKS = {3: (300.0, 200.0), 8: (420.0, 300.0)}
FILES = {3: "three.jpg", 8: "eight.png"}


def person(neck: tuple[float, float]) -> list[float]:
    """x, y and visibility of the labelled keypoints of the person with this neck."""
    points = person_at(*neck)
    return [value for name in KEYPOINTS for value in (*points[name], 2.0)]


def write(folder: Path) -> Path:
    """Write two pictures with a person each and their annotations; the path of the latter."""
    annotations: list[dict[str, Any]] = []
    for picture, name in FILES.items():
        image = discs(*SIZE, person_at(*NECKS[picture]))
        (folder / name).write_bytes(photos.encode(image, "png" if name.endswith("png") else "jpeg"))
        x, y = NECKS[picture]
        annotations.append({
            "id": picture, "image_id": picture, "category_id": 1, "iscrowd": 0, "num_keypoints": len(KEYPOINTS),
            "area": 5000.0, "bbox": [x - 70, y - 70, 100.0, 100.0], "keypoints": person(NECKS[picture]),
        })  # fmt: skip
    content = {
        "images": [{"id": id_, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for id_, name in FILES.items()],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}],
    }
    path = folder / "discs.json"
    path.write_text(json.dumps(content))
    return path


def results(wrong: float = 0.0) -> list[dict[str, Any]]:
    """A COCO results file's entries for the people that are there, moved by so many pixels."""
    return [
        {
            "image_id": picture,
            "category_id": 1,
            "keypoints": (np.array(person(neck)) + np.tile([wrong, 0, 0], len(KEYPOINTS))).tolist(),
            "score": 0.9,
        }
        for picture, neck in NECKS.items()
    ]
