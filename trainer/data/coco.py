"""Data sets in COCO's keypoint format (cocodataset.org, format-data), read into plain records.

Keypoints are matched by name, so any set whose category names those of the skeleton fits; the skeleton's derived
keypoints (the neck) need no label, names that it does not have are passed over. Only the category ``person`` counts;
where there is none, those that have keypoints.

What is wrong with the data never reaches an epoch. It is counted and listed in the `DatasetReport`:

| what is wrong | what happens |
|---|---|
| a picture's file is missing | picture left out; refused if that is more than half of them |
| a picture cannot be decoded, is truncated, is not of the size the annotations give | picture left out, when records are written; refused if that is more than half of them |
| keypoints are not 3 numbers for each name (words, NaN, too few) | the annotation becomes an ignored region; refused if nobody is left |
| a keypoint lies more than a pixel outside of the picture | it counts as not labelled |
| ``num_keypoints`` is not the number of labelled keypoints | counted again |
| a labelled person's box is missing, has no area or is outside of the picture | rebuilt around the keypoints |
| the same for a region that has no segmentation either | annotation left out |
| a segmentation of a crowd or of a person without keypoints cannot be drawn | its box is used |
| an annotation belongs to a picture that is not listed | annotation left out |
| a picture of an `only_labelled` set has nobody labelled | picture left out: nothing is known about it |
| an id of a picture or annotation, or a file name, is there twice | refused |
| the category has no names and the keypoints are not 17 | refused |
| the category lacks a keypoint of the skeleton, and people are labelled | refused |
| not JSON, no lists ``images`` and ``annotations``, no picture at all | refused |
"""  # noqa: E501 - a table

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageError, YaopError
from shared.image_headers import read_header
from shared.skeleton import COCO_17_KEYPOINTS, Skeleton, from_names
from trainer.data.findings import DatasetReport, Finding, FindingsLog
from trainer.data.labels import Label, read_label, where

__all__ = ["DatasetError", "DatasetReport", "Finding", "Record", "load_background", "load_dataset"]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class DatasetError(YaopError):
    """A data set that is missing or cannot be used; the message begins with its file or folder."""


@dataclass(frozen=True)
class Record:
    """One picture and what is known about the people in it, in pixels of the stored upright picture.

    Attributes:
        image: path of the picture.
        name: its file name in the annotations.
        size: its width and height.
        keypoints: float32 ``[N, K, 3]`` the skeleton's keypoints (x, y, COCO visibility) of the labelled people.
        boxes: float32 ``[N, 4]`` their boxes: x, y, width, height.
        areas: float32 ``[N]`` their areas.
        ignored: float32 ``[M, 4]`` boxes of crowds and of people without keypoints, unless they have a segmentation.
        keypoint_weights: float32 ``[K]``, 0 for keypoints that nobody in this picture could be labelled with.
        only_labelled: the picture may show further people without any mark, so nothing outside of the labelled
            people's boxes is known.
        segmentations: COCO polygons or run lengths of crowds and of people without keypoints (`trainer.data.masks`).
    """

    image: Path
    name: str
    size: tuple[int, int]
    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    areas: NDArray[np.float32]
    ignored: NDArray[np.float32]
    keypoint_weights: NDArray[np.float32]
    only_labelled: bool
    segmentations: tuple[Any, ...]


@dataclass(frozen=True)
class _Picture:
    """An entry of a file's list of pictures, the file itself and its width and height."""

    id: Any
    name: str
    path: Path
    size: tuple[int, int]


def load_dataset(
    annotations: Path, images: Path, skeleton: Skeleton, *, only_labelled: bool = False
) -> tuple[list[Record], DatasetReport]:
    """Read a COCO keypoint file by the rules above.

    Args:
        annotations: the JSON file.
        images: folder of its pictures.
        skeleton: whose keypoints the records have.
        only_labelled: see `Record`; then also a keypoint with visibility 0 means 'not annotated' and carries no loss,
            where COCO's means 'not visible'.

    Raises:
        DatasetError: it is missing or refused.
    """
    data = _read(annotations)
    log = FindingsLog()
    try:
        content = _lists(json.loads(data))
        people, names = _people(content)
        entries = _pictures(content["images"], images, log)
        by_picture = _by_picture(people, {entry["id"] for entry in content["images"]}, log)
        pairs = [(picture, _labels(by_picture[picture.id], picture, len(names), log)) for picture in entries]
        _check_names(names, skeleton, [label for _, labels in pairs for label in labels], log)
        records = [_record(picture, labels, names, skeleton, only_labelled) for picture, labels in pairs]
    except DatasetError as error:
        raise DatasetError(f"{annotations}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{annotations}: not a COCO keypoint file ({error!r})") from error
    kept = _with_somebody(records, log) if only_labelled else records
    report = _report(kept, len(content["images"]), log)
    digest = hashlib.sha256(data).hexdigest()
    return kept, replace(report, annotations=str(annotations), images=str(images), digest=digest)


def load_background(images: Path, skeleton: Skeleton) -> tuple[list[Record], DatasetReport]:
    """Every picture of a folder (and of those in it), as pictures in which nobody is.

    Raises:
        DatasetError: there is no such folder, or no picture in it.
    """
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder")
    log = FindingsLog()
    files = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
    names = [str(path.relative_to(images)) for path in files]
    try:
        pictures = _pictures([{"id": name, "file_name": name} for name in names], images, log)
    except DatasetError as error:
        raise DatasetError(f"{images}: {error}") from error
    records = [_record(picture, [], COCO_17_KEYPOINTS, skeleton, only_labelled=False) for picture in pictures]
    return records, replace(_report(records, len(names), log), images=str(images))


def _read(annotations: Path) -> bytes:
    try:
        return annotations.read_bytes()
    except OSError as error:
        raise DatasetError(f"{annotations}: {error.strerror or error}") from error


def _lists(content: Any) -> dict[str, Any]:
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise DatasetError(f"not a COCO keypoint file: it has no list '{name}'")
    for name, ids in (
        ("picture id", (image["id"] for image in content["images"])),
        ("file name", (image["file_name"] for image in content["images"])),
        ("annotation id", (a["id"] for a in content["annotations"] if a.get("id") is not None)),
    ):
        twice = [value for value, count in Counter(ids).items() if count > 1]
        if twice:
            raise DatasetError(f"{len(twice)} x {name} used more than once; first: {twice[0]!r}")
    return content


def _people(content: dict[str, Any]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The annotations of people, and the names of their keypoints."""
    annotations, categories = content["annotations"], content.get("categories") or []
    if categories:
        chosen = [c for c in categories if str(c.get("name")).lower() == "person"]
        chosen = chosen or [c for c in categories if c.get("keypoints")]
        layouts = {tuple(c.get("keypoints") or ()) for c in chosen}
        if len(layouts) > 1:
            raise DatasetError("its categories have different keypoints; call one of them 'person'")
        annotations = [a for a in annotations if a.get("category_id") in {c["id"] for c in chosen}]
        names = next(iter(layouts), ())
        if names:
            return annotations, _unique(names)
    lengths = Counter(len(a["keypoints"]) for a in annotations if isinstance(a.get("keypoints"), list))
    if lengths and lengths.most_common(1)[0][0] != 3 * len(COCO_17_KEYPOINTS):
        raise DatasetError("its category does not name the keypoints, and they are not COCO's 17")
    return annotations, COCO_17_KEYPOINTS


def _unique(names: Sequence[Any]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise DatasetError("its category names a keypoint twice")
    return tuple(str(name) for name in names)


def _pictures(entries: list[dict[str, Any]], images: Path, log: FindingsLog) -> list[_Picture]:
    """The pictures that are there."""
    if not entries:
        raise DatasetError("it has no pictures")
    missing = [entry["file_name"] for entry in entries if not (images / entry["file_name"]).is_file()]
    if 2 * len(missing) > len(entries):
        raise DatasetError(f"{len(missing)} of {len(entries)} pictures are not in {images}; first: {missing[0]}")
    for name in missing:
        log.add("picture missing", name)
    gone = set(missing)
    found = (_picture(entry, images, log) for entry in entries if entry["file_name"] not in gone)
    return [picture for picture in found if picture]


def _picture(entry: dict[str, Any], images: Path, log: FindingsLog) -> _Picture | None:
    name, width, height = entry["file_name"], entry.get("width"), entry.get("height")
    path = images / name
    if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
        return _Picture(entry["id"], name, path, (width, height))
    try:
        header = read_header(path.read_bytes())
    except (ImageError, OSError) as error:
        log.add("picture broken", f"{name}: {error}")
        return None
    # EXIF orientations from 5 on lay the picture on its side.
    size = (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
    return _Picture(entry["id"], name, path, size)


def _by_picture(
    annotations: Iterable[dict[str, Any]], known: set[Any], log: FindingsLog
) -> defaultdict[Any, list[dict[str, Any]]]:
    groups: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        if annotation.get("image_id") in known:
            groups[annotation["image_id"]].append(annotation)
        else:
            log.add("picture unknown", where(annotation))
    return groups


def _labels(annotations: list[dict[str, Any]], picture: _Picture, joints: int, log: FindingsLog) -> list[Label]:
    labels = (read_label(annotation, picture.size, joints, log) for annotation in annotations)
    return [label for label in labels if label]


def _check_names(names: Sequence[str], skeleton: Skeleton, labels: list[Label], log: FindingsLog) -> None:
    if not any(label.keypoints is not None for label in labels):
        if malformed := log.counts["keypoints malformed"]:
            wanted = f"{3 * len(names)} numbers (x, y, visibility of {len(names)})"
            raise DatasetError(f"none of {malformed} annotations has {wanted} as keypoints")
        return
    missing = [skeleton.keypoints[i] for i in skeleton.labelled if skeleton.keypoints[i] not in names]
    if missing:
        raise DatasetError(f"its category lacks {', '.join(missing)} of the skeleton {skeleton.name}")


def _record(
    picture: _Picture, labels: list[Label], names: Sequence[str], skeleton: Skeleton, only_labelled: bool
) -> Record:
    people = [label for label in labels if label.keypoints is not None]
    regions = [label for label in labels if label.keypoints is None]
    named = np.array([label.keypoints for label in people], float).reshape(-1, len(names), 3)
    keypoints = from_names(named, names, skeleton).astype(np.float32)
    known = (keypoints[..., 2] > 0).all(0) if only_labelled else np.ones(skeleton.num_keypoints, bool)
    return Record(
        image=picture.path,
        name=picture.name,
        size=picture.size,
        keypoints=keypoints,
        boxes=np.array([label.box for label in people], np.float32).reshape(-1, 4),
        areas=np.array([label.area for label in people], np.float32),
        ignored=np.array([label.box for label in regions if label.box], np.float32).reshape(-1, 4),
        keypoint_weights=np.asarray(known, np.float32),
        only_labelled=only_labelled,
        segmentations=tuple(label.segmentation for label in regions if label.segmentation),
    )


def _with_somebody(records: list[Record], log: FindingsLog) -> list[Record]:
    for record in records:
        if not len(record.boxes):
            log.add("nobody labelled", record.name)
    return [record for record in records if len(record.boxes)]


def _report(records: list[Record], listed: int, log: FindingsLog) -> DatasetReport:
    return DatasetReport(
        listed=listed,
        pictures=len(records),
        people=sum(len(record.boxes) for record in records),
        ignored=sum(len(record.ignored) + len(record.segmentations) for record in records),
        counts=dict(log.counts),
        findings=tuple(log.findings),
    )
