"""The smoke data set: a few dozen small pictures that show the whole job at work, made of what is installed.

Three people, photographed once each (`trainer.data.photographs`), are cropped, scaled, mirrored, put side by side and
pasted before other pictures. The validation pictures are other compositions **of the same people**: an AP on them says
that the machinery works, and nothing about people who were not trained on.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.skeleton import BODY_18, COCO_17_KEYPOINTS
from trainer.data.photographs import Image, Person, Scene, backgrounds, portraits

FOLDER = "smoke"
"""Name of the data set's folder inside the data folder."""

SPLITS = {"train": 24, "val": 8}
"""Pictures in each split."""

_FLIPS = [COCO_17_KEYPOINTS.index(BODY_18.keypoints[BODY_18.flips[BODY_18.index(name)]]) for name in COCO_17_KEYPOINTS]
_FEATHER = 0.8  # pixels over which a pasted person's edge fades


class SmokeDataError(YaopError):
    """The smoke data set cannot be written; the message begins with the folder."""


def make_smoke_data(folder: Path) -> None:
    """Write the data set in COCO's keypoint format: ``smoke/train.json``, ``smoke/val.json``, ``smoke/images``.

    The same files every time; a folder that has them already is left alone. It takes its name only when all is there.

    Args:
        folder: the data folder.

    Raises:
        PhotographError: a package that ships a photograph is not installed.
        SmokeDataError: the folder cannot be written.
    """
    scenes = {split: _named(split, compose(split, count)) for split, count in SPLITS.items()}
    content = {f"{split}.json": _annotations(named) for split, named in scenes.items()}
    destination = folder / FOLDER
    if _is_there(destination, content, [name for named in scenes.values() for name in named]):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{FOLDER}.", dir=folder) as temporary:
            source = Path(temporary) / FOLDER
            _write(source, content, {name: scene for named in scenes.values() for name, scene in named.items()})
            shutil.rmtree(destination, ignore_errors=True)
            source.replace(destination)
    except OSError as error:
        raise SmokeDataError(f"{destination}: {error.strerror or error}") from error


def compose(split: str, count: int) -> list[Scene]:
    """The first `count` pictures of a split: in turn a portrait, people in a row, people before something else.

    Portraits and people before something else are square. Picture ``i`` depends on the split and ``i`` only.
    """
    makers, seed = (_portrait, _row, _group), list(SPLITS).index(split)
    return [makers[i % 3](i // 3, np.random.default_rng([seed, i])) for i in range(count)]


def _portrait(number: int, rng: np.random.Generator) -> Scene:
    """A square cut around the head of one person; shoulders and arms may be outside."""
    scene = _pick(number, rng)
    side = int(rng.uniform(0.62, 1.0) * min(scene.image.shape[:2]))
    nose = scene.people[0].keypoints[0, :2] + rng.uniform(-0.15, 0.15, 2) * side
    height, width = scene.image.shape[:2]
    left, top = (int(np.clip(nose[axis] - side / 2, 0, room - side)) for axis, room in ((0, width), (1, height)))
    return _exposed(_cut(scene, (left, top, side, side), int(rng.integers(256, 385)) / side), rng)


def _row(number: int, rng: np.random.Generator) -> Scene:
    """Two or three whole photographs side by side."""
    height = int(rng.integers(200, 281))
    chosen = [_exposed(_pick(number + i, rng), rng) for i in range(2 + number % 2)]
    return _beside([_scaled(scene, height / scene.image.shape[0]) for scene in chosen])


def _group(number: int, rng: np.random.Generator) -> Scene:
    """One to three people cut out and placed before a picture without people, each in a strip of their own."""
    side, count = int(rng.integers(288, 385)), 1 + number % 3
    scenery = backgrounds()[number % len(backgrounds())]
    room = min(scenery.shape[:2])
    left, top = (int(rng.integers(size - room + 1)) for size in scenery.shape[1::-1])
    group = _scaled(Scene(scenery[top : top + room, left : left + room]), side / room)
    strip = side / count
    for i in range(count):
        scene = _exposed(_pick(number + i, rng), rng)
        low, high = scene.people[0].outline.min(0), scene.people[0].outline.max(0)
        scale = min(rng.uniform(0.75, 1.0) * strip / (high - low)[0], rng.uniform(0.6, 0.95) * side / (high - low)[1])
        across = strip * i + rng.uniform(0, 1) * (strip - scale * (high - low)[0])
        group = _pasted(group, scene, scale, (across - scale * low[0], side - scale * high[1]))
    return group


def _pick(number: int, rng: np.random.Generator) -> Scene:
    """One of the portraits, mirrored half of the time."""
    scene = portraits()[number % len(portraits())]
    return _mirrored(scene) if rng.random() < 0.5 else scene


def _cut(scene: Scene, box: tuple[int, int, int, int], scale: float) -> Scene:
    """What is inside a box (left, top, width, height), scaled."""
    left, top, width, height = box
    image = scene.image[top : top + height, left : left + width]
    return _scaled(Scene(image, _moved(scene.people, 1.0, (-left, -top))), scale)


def _scaled(scene: Scene, scale: float) -> Scene:
    size = [max(1, round(length * scale)) for length in scene.image.shape[1::-1]]
    image = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return Scene(image.astype(np.uint8, copy=False), _moved(scene.people, scale, (0, 0)))


def _mirrored(scene: Scene) -> Scene:
    """The mirror image, in which left keypoints have become right ones."""
    flip, shift = np.array([-1.0, 1.0]), np.array([scene.image.shape[1] - 1.0, 0.0])
    people = [
        Person(
            np.concatenate([person.keypoints[_FLIPS, :2] * flip + shift, person.keypoints[_FLIPS, 2:]], axis=1),
            person.outline * flip + shift,
        )
        for person in scene.people
    ]
    return Scene(np.ascontiguousarray(scene.image[:, ::-1]), tuple(people))


def _beside(scenes: Sequence[Scene]) -> Scene:
    """Scenes of one height, left to right."""
    lefts = np.cumsum([0, *(scene.image.shape[1] for scene in scenes)])
    people = [p for scene, left in zip(scenes, lefts, strict=False) for p in _moved(scene.people, 1.0, (left, 0))]
    return Scene(np.concatenate([scene.image for scene in scenes], axis=1), tuple(people))


def _pasted(onto: Scene, scene: Scene, scale: float, corner: tuple[float, float]) -> Scene:
    """The scene's people, cut out and scaled, before another; `corner` is where the scene's own corner comes to lie."""
    height, width = onto.image.shape[:2]
    people = _moved(scene.people, scale, corner)
    small = _scaled(scene, scale).image
    shift = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]])
    laid = cv2.warpAffine(small, shift, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.max([_mask(person, (height, width)) for person in people], axis=0).astype(np.float32)
    alpha = cv2.GaussianBlur(mask, (0, 0), _FEATHER)[..., None]
    image = np.rint(laid * alpha + onto.image * (1 - alpha)).astype(np.uint8)
    return Scene(image, (*onto.people, *people))


def _exposed(scene: Scene, rng: np.random.Generator) -> Scene:
    """The same with other brightness and contrast."""
    contrast, brightness = rng.uniform(0.75, 1.2), rng.uniform(-25, 25)
    pixels = (scene.image.astype(np.float32) - 127) * contrast + 127 + brightness
    return Scene(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), scene.people)


def _moved(people: Sequence[Person], scale: float, corner: tuple[float, float]) -> tuple[Person, ...]:
    """People after their picture was scaled (edges stay in place) and its corner came to lie at `corner`."""

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points + 0.5) * scale - 0.5 + np.array(corner)

    return tuple(
        Person(np.concatenate([place(person.keypoints[:, :2]), person.keypoints[:, 2:]], axis=1), place(person.outline))
        for person in people
    )


def _mask(person: Person, size: tuple[int, int]) -> Image:
    """uint8 ``[height, width]``: 1 where the person is."""
    mask = np.zeros(size, np.uint8)
    return cv2.fillPoly(mask, [np.rint(person.outline).astype(np.int32)], (1,)).astype(np.uint8, copy=False)


def _named(split: str, scenes: Sequence[Scene]) -> dict[str, Scene]:
    return {f"{split}_{i:02d}.jpg": scene for i, scene in enumerate(scenes)}


def _annotations(named: dict[str, Scene]) -> bytes:
    """A split's JSON file."""
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number, (name, scene) in enumerate(named.items(), start=1):
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for person in scene.people:
            people.append({"id": len(people) + 1, "image_id": number, **_annotation(person, (height, width))})
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO_17_KEYPOINTS)}
    info = {"description": "YAOP's smoke data; origin and terms of the photographs: NOTICE"}
    content = {"info": info, "images": images, "annotations": people, "categories": [category | {"skeleton": []}]}
    return json.dumps(content, indent=1).encode()


def _annotation(person: Person, size: tuple[int, int]) -> dict[str, Any]:
    mask = _mask(person, size)
    keypoints = person.keypoints.round(1)
    inside = ((keypoints[:, :2] >= 0) & (keypoints[:, :2] <= np.array(size[::-1]) - 1)).all(1)
    keypoints[~inside | (keypoints[:, 2] == 0)] = 0
    return {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": list(cv2.boundingRect(mask)),
        "area": float(mask.sum()),
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "keypoints": keypoints.ravel().tolist(),
    }


def _is_there(folder: Path, content: dict[str, bytes], pictures: Sequence[str]) -> bool:
    try:
        same = all((folder / name).read_bytes() == data for name, data in content.items())
    except OSError:
        return False
    return same and all((folder / "images" / name).is_file() for name in pictures)


def _write(folder: Path, content: dict[str, bytes], pictures: dict[str, Scene]) -> None:
    (folder / "images").mkdir(parents=True)
    for name, scene in pictures.items():
        _, data = cv2.imencode(".jpg", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
        _write_file(folder / "images" / name, data.tobytes())
    for name, data in content.items():
        _write_file(folder / name, data)


def _write_file(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
