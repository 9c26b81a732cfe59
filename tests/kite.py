"""A skeleton of four keypoints, defined as a user would, and a network that sees each of them as a colour of its own.

A kite hangs in a fixed position, so the network knows the directions of its limbs beforehand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests import photos

if TYPE_CHECKING:
    import keras

    from shared.skeleton import Skeleton

STRIDE = 4
DEFINITION: dict[str, Any] = {
    "name": "kite",
    "keypoints": ["tail", "left_tip", "right_tip", "top"],
    "limbs": [["tail", "top"], ["top", "left_tip"], ["top", "right_tip"]],
}
POINTS = {"tail": (0, 80), "left_tip": (50, 0), "right_tip": (-50, 0), "top": (0, -50)}  # from the kite's middle
_COLORS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))  # of the keypoints, RGB 0..1
_MATCH = ((1, -1, -1), (-1, 1, -1), (-1, -1, 1), (1, 1, -1))  # weights of R, G and B, and what the sum must exceed:
_ENOUGH = (0.5, 0.5, 0.5, 1.5)


def write_definition(folder: Path) -> Path:
    """The skeleton as a JSON file."""
    path = folder / "kite.json"
    path.write_text(json.dumps(DEFINITION))
    return path


def write_dataset(folder: Path, count: int = 3) -> Path:
    """Pictures of two kites each in ``folder/images``, and their annotations in COCO's format; the path of these."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        middles = [(float(x), float(y)) for x, y in zip((100, 270), random.uniform(90, 160, 2), strict=True)]
        name = f"{number}.png"
        (folder / "images" / name).write_bytes(photos.encode(picture(384, 288, *middles), "png"))
        images.append({"id": number, "file_name": name, "width": 384, "height": 288})
        annotations += [_label(number, len(annotations) + i, middle) for i, middle in enumerate(middles, 1)]
    category = {"id": 1, "name": "kite", "keypoints": DEFINITION["keypoints"]}
    path = folder / "kites.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return path


def _label(image: int, number: int, middle: tuple[float, float]) -> dict[str, Any]:
    x, y = middle
    keypoints = [value for dx, dy in POINTS.values() for value in (x + dx, y + dy, 2)]
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "num_keypoints": len(POINTS),
        "keypoints": keypoints, "bbox": [x - 60, y - 60, 120, 150], "area": 18000.0,
    }  # fmt: skip


def build(skeleton: Skeleton) -> keras.Model:
    """The network, with weights that work from the start."""
    import keras
    from keras import layers

    from trainer.models.layers import as_float32

    images = keras.Input((None, None, 3), name="images")
    pooled = layers.AveragePooling2D(STRIDE)(layers.Rescaling(1 / 255)(images))
    seen = layers.Conv2D(skeleton.num_keypoints, 1, activation="sigmoid", name="heatmap_output")
    lead = layers.Conv2D(2 * skeleton.num_limbs, 1, name="paf_output")
    outputs = {"heatmaps": as_float32(seen(pooled), "heatmaps"), "pafs": as_float32(lead(pooled), "pafs")}
    seen.set_weights([8 * np.array(_MATCH, np.float32).T[None, None], -8 * np.array(_ENOUGH, np.float32)])
    lead.set_weights([np.zeros((1, 1, 3, 2 * skeleton.num_limbs), np.float32), _directions(skeleton)])
    return keras.Model(images, outputs, name="kite")


def picture(width: int, height: int, *middles: tuple[float, float]) -> NDArray[np.uint8]:
    """Kites of soft spots on black, RGB uint8 ``[H, W, 3]``."""
    rows, columns = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3))
    for x, y in middles:
        for (dx, dy), color in zip(POINTS.values(), _COLORS, strict=True):
            spot = 255 * np.exp(-((columns - x - dx) ** 2 + (rows - y - dy) ** 2) / (2 * 8.0**2))
            image = np.maximum(image, spot[..., None] * color)
    return image.astype(np.uint8)


def _directions(skeleton: Skeleton) -> NDArray[np.float32]:
    points = [np.array(POINTS[name], np.float32) for name in skeleton.keypoints]
    vectors = [points[second] - points[first] for first, second in skeleton.limbs]
    return np.concatenate([vector / np.linalg.norm(vector) for vector in vectors]).astype(np.float32)
