"""A copy of COCO 2017 that is on the disk already, put where the recipes look for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.fetch import DownloadError

SPLITS = ("train2017", "val2017")

_ANNOTATIONS = "annotations"


@dataclass(frozen=True)
class LocalCoco:
    """Where the parts of a copy are, and what it lacks.

    Attributes:
        folders: name in our layout (``annotations``, ``train2017``, ``val2017``) -> existing folder.
        missing: split -> how many of its annotated pictures are not there; only splits that lack any.
    """

    folders: dict[str, Path]
    missing: dict[str, int]


def find_coco(source: Path) -> LocalCoco:
    """Look at a copy, whose picture folders may be beside ``annotations`` or in ``images``.

    Raises:
        DownloadError: a file or folder is missing, an annotation file isn't one of COCO keypoints, or no picture of a
            split is there.
    """
    absent = list(_absent(source))
    if absent:
        raise DownloadError(f"--coco {source}: there is no {', no '.join(absent)}")
    folders = {_ANNOTATIONS: source / _ANNOTATIONS} | {split: _pictures(source, split) for split in SPLITS}
    missing = {split: _count_missing(_annotations(source, split), folders[split]) for split in SPLITS}
    return LocalCoco(folders, {split: count for split, count in missing.items() if count})


def link_coco(coco: LocalCoco, folder: Path) -> bool:
    """Make links in `folder` to the parts of a copy; links that point elsewhere are replaced.

    Returns:
        False if everything was in place already.

    Raises:
        DownloadError: something that is not a link is in the way, or this disk knows no links.
    """
    wrong = {
        folder / name: place.resolve()
        for name, place in coco.folders.items()
        if (folder / name).resolve() != place.resolve()
    }
    for link in wrong:
        if link.exists() and not link.is_symlink():
            raise DownloadError(f"{link}: is in the way of a link to the data; remove it, or choose another --data")
    for link, place in wrong.items():
        _link(link, place)
    return bool(wrong)


def _absent(source: Path) -> Iterator[str]:
    for split in SPLITS:
        if not _annotations(source, split).is_file():
            yield str(_annotations(source, split).relative_to(source))
        if not _pictures(source, split).is_dir():
            yield f"{split} or images/{split}"


def _annotations(source: Path, split: str) -> Path:
    return source / _ANNOTATIONS / f"person_keypoints_{split}.json"


def _pictures(source: Path, split: str) -> Path:
    beside = source / split
    return beside if beside.is_dir() else source / "images" / split


def _count_missing(annotations: Path, pictures: Path) -> int:
    names = _picture_names(annotations)
    missing = len(names - set(os.listdir(pictures)))
    if missing == len(names):
        raise DownloadError(f"{pictures}: none of the {len(names)} pictures that {annotations} names is here")
    return missing


def _picture_names(annotations: Path) -> set[str]:
    try:
        content = json.loads(annotations.read_bytes())
    except (OSError, ValueError) as error:
        raise DownloadError(f"{annotations}: cannot be read: {error}") from error
    if not _is_keypoint_data(content):
        raise DownloadError(
            f"{annotations}: not a COCO keypoint file; it needs images, annotations and a category with keypoints"
        )
    return {str(image["file_name"]) for image in content["images"]}


def _is_keypoint_data(content: Any) -> bool:
    try:
        return (
            bool(content["images"])
            and all(isinstance(image, dict) and "file_name" in image for image in content["images"])
            and isinstance(content["annotations"], list)
            and any(category["keypoints"] for category in content["categories"])
        )
    except (KeyError, TypeError):
        return False


def _link(link: Path, place: Path) -> None:
    temporary = link.with_name(f".{link.name}.link")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(place, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        raise DownloadError(
            f"{link}: cannot be made a link to {place}: {error.strerror or error}; "
            "arrange the copy as DIR/coco/{annotations,train2017,val2017} and use --data DIR"
        ) from error
