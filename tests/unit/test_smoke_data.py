"""The smoke data set: its labels follow the people through every picture that is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from shared.images import decode_image
from shared.skeleton import COCO_17_KEYPOINTS
from trainer.data import photographs
from trainer.data.photographs import PhotographError, portraits
from trainer.data.smoke import SmokeDataError, compose, make_smoke_data

NOSE = COCO_17_KEYPOINTS.index("nose")
EYES = [COCO_17_KEYPOINTS.index(f"{side}_eye") for side in ("left", "right")]
SHOULDERS = [COCO_17_KEYPOINTS.index(f"{side}_shoulder") for side in ("left", "right")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_smoke_data(folder)
    return folder / "smoke"


def _content(data: Path, split: str) -> dict[str, Any]:
    return json.loads((data / f"{split}.json").read_text())


def _labelled(data: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every picture's entry with each of its annotations."""
    for split in ("train", "val"):
        content = _content(data, split)
        images = {image["id"]: image for image in content["images"]}
        yield from ((images[person["image_id"]], person) for person in content["annotations"])


def test_both_splits_are_in_cocos_keypoint_format(data: Path) -> None:
    assert [len(_content(data, split)["images"]) for split in ("train", "val")] == [24, 8]
    assert len(_content(data, "train")["annotations"]) >= 40
    assert _content(data, "train")["categories"][0]["keypoints"] == list(COCO_17_KEYPOINTS)
    for image, person in _labelled(data):
        picture = decode_image((data / "images" / image["file_name"]).read_bytes())
        assert picture.shape == (image["height"], image["width"], 3)
        assert person["num_keypoints"] == sum(value > 0 for value in person["keypoints"][2::3]) >= 4


def test_no_label_is_outside_of_its_picture(data: Path) -> None:
    outside = 0
    for image, person in _labelled(data):
        keypoints = np.array(person["keypoints"]).reshape(17, 3)
        present = keypoints[keypoints[:, 2] > 0]
        assert ((present[:, :2] >= 0) & (present[:, :2] <= [image["width"] - 1, image["height"] - 1])).all()
        assert (keypoints[keypoints[:, 2] == 0] == 0).all()
        left, top, width, height = person["bbox"]
        assert left >= 0 and top >= 0 and left + width <= image["width"] and top + height <= image["height"]
        assert 0 < person["area"] <= width * height
        outside += len(present) < 7
    assert outside, "no picture cuts anybody off"


def test_labels_mark_the_same_pixels_in_every_picture(data: Path) -> None:
    """Around each eye is what was around one in the photographs, up to scale, mirroring and light."""
    patches = [patch for scene in portraits() for patch in _eyes(scene.image, scene.people[0].keypoints)]
    candidates = [*patches, *(patch[:, ::-1] for patch in patches)]
    for image, person in _labelled(data):
        picture = decode_image((data / "images" / image["file_name"]).read_bytes())
        for patch in _eyes(picture, np.array(person["keypoints"]).reshape(17, 3)):
            likeness = [np.corrcoef(patch.ravel(), candidate.ravel())[0, 1] for candidate in candidates]
            assert max(likeness) > 0.9, image["file_name"]


def _eyes(picture: np.ndarray, keypoints: np.ndarray) -> list[np.ndarray]:
    """Each eye's surroundings in grey, 24 x 24, as wide as the eye is from the nose."""
    gray, patches = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), []
    for x, y in keypoints[EYES][keypoints[EYES, 2] > 0, :2]:
        scale = 24 / float(np.hypot(*(keypoints[NOSE, :2] - (x, y))))
        matrix = np.array([[scale, 0, 11.5 - scale * x], [0, scale, 11.5 - scale * y]])
        blurred = cv2.GaussianBlur(gray, (0, 0), 2.5 / scale)
        patches.append(cv2.warpAffine(blurred, matrix, (24, 24), flags=cv2.INTER_LINEAR))
    return patches


def test_mirroring_swaps_left_and_right() -> None:
    """Whoever faces the camera has their right shoulder on the picture's left, mirrored or not."""
    facing = [0, 2]
    for scene in compose("train", 24):
        for person in scene.people:
            left, right = person.keypoints[SHOULDERS]
            frontal = (person.keypoints[1:3, 2] > 0).all()
            assert not frontal or right[0] < left[0]
    assert all(portraits()[i].people[0].keypoints[1:3, 2].all() for i in facing)


def test_writing_again_changes_nothing(data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))}
    make_smoke_data(data.parent)
    assert {path: path.stat().st_mtime_ns for path in sorted(data.rglob("*"))} == before


def test_the_same_files_are_written_every_time_and_a_damaged_folder_is_mended(data: Path, tmp_path: Path) -> None:
    (tmp_path / "smoke" / "images").mkdir(parents=True)
    (tmp_path / "smoke" / "train.json").write_text("{")
    make_smoke_data(tmp_path)
    names = sorted(path.relative_to(data) for path in data.rglob("*") if path.is_file())
    assert sorted(path.relative_to(tmp_path / "smoke") for path in (tmp_path / "smoke").rglob("*.*")) == names
    assert all((tmp_path / "smoke" / name).read_bytes() == (data / name).read_bytes() for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["smoke"], "something temporary was left behind"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SmokeDataError, match=r"file/smoke: "):
        make_smoke_data(tmp_path / "file")


def test_a_photograph_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "_NOBODY", ("data/no_such_picture.png",))
    with pytest.raises(PhotographError, match=r"no_such_picture\.png in scikit-image; install yaop\[train\]"):
        photographs.backgrounds()
