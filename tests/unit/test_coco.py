"""Files in COCO's keypoint format are read by name, and what is wrong with them is counted, mended or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.skeleton import BODY_18, COCO_17_KEYPOINTS, Skeleton
from tests import coco_files
from trainer.data.coco import DatasetError, DatasetReport, Record, load_background, load_dataset

Read = Callable[..., tuple[list[Record], DatasetReport]]

PAIR = Skeleton(
    name="pair", keypoints=("tail", "left_ear", "right_ear"), limbs=((0, 1), (0, 2)), flips=(0, 2, 1),
    sigmas=(0.1, 0.1, 0.1), colors=((0, 0, 0),) * 3,
)  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write a data set of these values and load it."""

    def write_and_load(
        values: dict[str, Any], skeleton: Skeleton = BODY_18, **options: Any
    ) -> tuple[list[Record], DatasetReport]:
        return load_dataset(*coco_files.write(tmp_path, values), skeleton, **options)

    return write_and_load


def changed(**changes: Any) -> dict[str, Any]:
    """Two pictures with a person in each, the second person changed."""
    values = coco_files.content(2)
    values["annotations"][1] = coco_files.person(200, 2, **changes)
    return values


def test_good_data_gives_a_report_without_findings(read: Read) -> None:
    records, report = read(coco_files.content(3, people=2))
    assert [record.name for record in records] == ["001.jpg", "002.jpg", "003.jpg"]
    assert (report.listed, report.pictures, report.people, report.ignored) == (3, 3, 6, 0)
    assert report.counts == {}
    assert records[0].size == (coco_files.WIDTH, coco_files.HEIGHT)
    assert records[0].areas.tolist() == [200, 200]
    assert records[0].keypoint_weights.tolist() == [1] * 18


def test_keypoints_are_matched_by_name_and_the_neck_is_derived(read: Read) -> None:
    values = coco_files.content(1)
    names = [*reversed(COCO_17_KEYPOINTS), "navel"]
    values["categories"][0]["keypoints"] = names
    values["annotations"][0]["keypoints"] = [n for i in range(18) for n in (20 + i, 5 + 2 * i, 1 + i % 2)]
    values["annotations"][0]["num_keypoints"] = 18
    ((record,), report) = read(values)
    assert report.counts == {}
    for name in COCO_17_KEYPOINTS:
        i = names.index(name)
        assert record.keypoints[0, BODY_18.index(name)].tolist() == [20 + i, 5 + 2 * i, 1 + i % 2]
    shoulders = record.keypoints[0, [BODY_18.index("left_shoulder"), BODY_18.index("right_shoulder")]]
    neck = record.keypoints[0, BODY_18.index("neck")]
    assert neck.tolist() == [*shoulders[:, :2].mean(0).tolist(), shoulders[:, 2].min()]


def test_another_skeleton_with_its_own_category(read: Read) -> None:
    values = coco_files.content(1)
    values["categories"] = [
        {"id": 1, "name": "dog", "keypoints": ["left_ear", "right_ear", "tail"]},
        {"id": 2, "name": "ball"},
    ]
    values["annotations"] = [
        coco_files.person(1, 1, keypoints=[10, 11, 2, 20, 21, 1, 30, 31, 2], num_keypoints=3),
        coco_files.person(2, 1, category_id=2, keypoints=None, num_keypoints=None),
    ]
    ((record,), report) = read(values, PAIR)
    assert record.keypoints.tolist() == [[[30, 31, 2], [10, 11, 2], [20, 21, 1]]]
    assert len(record.ignored) == 0
    assert report.counts == {}


def test_people_without_keypoints_and_crowds_are_ignored_regions(read: Read) -> None:
    square = [[1.0, 2.0, 11.0, 2.0, 11.0, 12.0, 1.0, 12.0]]
    values = coco_files.content(1)
    values["annotations"] += [
        coco_files.person(2, 1, keypoints=[0] * 51, num_keypoints=0, bbox=[1, 2, 3, 4]),
        coco_files.person(3, 1, keypoints=None, num_keypoints=None, bbox=[5, 6, 7, 8]),
        coco_files.person(4, 1, iscrowd=1, bbox=[1, 2, 10, 10], segmentation=square),
        coco_files.person(5, 1, iscrowd=1, bbox=[9, 9, 9, 9], segmentation=[[1, 2]]),
    ]
    ((record,), report) = read(values)
    assert len(record.keypoints) == 1
    assert record.ignored.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9]]
    assert record.segmentations == (square,)
    assert report.counts == {"segmentation malformed": 1}
    assert report.ignored == 4


def test_in_an_only_labelled_set_zero_means_not_annotated(read: Read) -> None:
    values = coco_files.content(2)
    points = values["annotations"][0]["keypoints"]
    points[:15] = [0.0] * 15
    points[18:21] = [0.0] * 3  # the right shoulder
    values["annotations"][0]["num_keypoints"] = 11
    values["annotations"][1] |= {"keypoints": [0] * 51, "num_keypoints": 0}
    ((record,), report) = read(values, only_labelled=True)
    unknown = [name for name, weight in zip(BODY_18.keypoints, record.keypoint_weights, strict=True) if not weight]
    assert sorted(unknown) == sorted([*COCO_17_KEYPOINTS[:5], "right_shoulder", "neck"])
    assert record.only_labelled
    assert report.counts == {"nobody labelled": 1}


def test_a_missing_picture_is_left_out_and_listed(tmp_path: Path) -> None:
    annotations, images = coco_files.write(tmp_path, coco_files.content(3))
    (images / "002.jpg").unlink()
    records, report = load_dataset(annotations, images, BODY_18)
    assert [record.name for record in records] == ["001.jpg", "003.jpg"]
    assert report.findings == (("002.jpg", "picture missing", "picture left out"),)
    assert (report.listed, report.pictures) == (3, 2)


def test_a_set_with_most_pictures_missing_is_refused(tmp_path: Path) -> None:
    annotations, images = coco_files.write(tmp_path, coco_files.content(3))
    (images / "002.jpg").unlink()
    (images / "003.jpg").unlink()
    with pytest.raises(DatasetError, match=r"people\.json: 2 of 3 pictures are not in .*; first: 002\.jpg"):
        load_dataset(annotations, images, BODY_18)


def test_a_keypoint_outside_of_the_picture_is_not_labelled(read: Read) -> None:
    points = coco_files.keypoints()
    points[0:3] = [-0.9, 48.0, 2]  # within a pixel
    points[3:6] = [65.1, 10, 2]
    points[6:9] = [10, -1.1, 1]
    records, report = read(changed(keypoints=points))
    person = records[1].keypoints[0]
    assert person[BODY_18.index("nose"), 2] == 2
    assert person[BODY_18.index("left_eye")].tolist() == [0, 0, 0]
    assert person[BODY_18.index("right_eye")].tolist() == [0, 0, 0]
    assert report.counts == {"keypoint outside": 2}


@pytest.mark.parametrize(
    "box", [[18, 8, 0, 22], [18, 8, 20, -3], [18, 8, 20], None, ["a", 8, 20, 22], [float("nan"), 8, 20, 22],
            [90, 8, 20, 20], [-40, 0, 20, 20], [1e300, 8, 20, 22]],
)  # fmt: skip
def test_a_useless_box_is_rebuilt_from_the_keypoints(read: Read, box: Any) -> None:
    records, report = read(changed(bbox=box, area=None))
    x, y, width, height = records[1].boxes[0]
    assert -2 <= x - 12 <= 2 and -2 <= y - 2 <= 2
    assert -2 <= width - 32 <= 2 and -2 <= height - 32 <= 2
    assert 0 < records[1].areas[0] < width * height
    assert report.counts == {"box rebuilt": 1}


def test_a_box_with_neither_area_nor_keypoints_is_left_out(read: Read) -> None:
    records, report = read(changed(bbox=[3, 3, 0, 0], keypoints=[0] * 51, num_keypoints=0))
    assert len(records[1].ignored) == len(records[1].boxes) == 0
    assert report.findings == (("annotation 200 of picture 2", "box useless", "annotation left out"),)


@pytest.mark.parametrize(
    "points", [[1, 2, 2], [*coco_files.keypoints(), 1], "words", 7, {"nose": 1}, [float("nan")] * 51, ["1"] * 51,
               [None] * 51, [True] * 51, [1e308] * 51, None],
)  # fmt: skip
def test_malformed_keypoints_make_an_ignored_region(read: Read, points: Any) -> None:
    records, report = read(changed(keypoints=points))
    assert len(records[1].keypoints) == 0
    assert records[1].ignored.tolist() == [[18, 8, 20, 22]]
    assert report.counts == {"keypoints malformed": 1}
    assert report.people == 1


def test_num_keypoints_is_counted_again(read: Read) -> None:
    records, report = read(changed(num_keypoints=0))
    assert len(records[1].keypoints) == 1
    assert report.counts == {"num_keypoints wrong": 1}


def test_an_annotation_of_an_unknown_picture_is_left_out(read: Read) -> None:
    values = coco_files.content(2)
    values["annotations"].append(coco_files.person(9, 77))
    records, report = read(values)
    assert sum(len(record.keypoints) for record in records) == 2
    assert report.findings[0].where == "annotation 9 of picture 77"
    assert report.counts == {"picture unknown": 1}


def test_without_a_size_the_pictures_own_is_taken(read: Read) -> None:
    values = coco_files.content(1)
    del values["images"][0]["width"]
    ((record,), _) = read(values)
    assert record.size == (coco_files.WIDTH, coco_files.HEIGHT)


def spoilt(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    values = coco_files.content(2)
    change(values)
    return values


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a picture id twice": (lambda v: v["images"][1].update(id=1), "picture id used more than once; first: 1"),
    "a file twice": (lambda v: v["images"][1].update(file_name="001.jpg"), "file name used more than once"),
    "an annotation id twice": (lambda v: v["annotations"][1].update(id=100), "annotation id used more .* first: 100"),
    "all keypoints malformed": (
        lambda v: [a.update(keypoints=[1, 2, 3]) for a in v["annotations"]],
        r"none of 2 annotations has 51 numbers \(x, y, visibility of 17\)",
    ),
    "no names, not 17": (
        lambda v: (v.pop("categories"), [a.update(keypoints=[1, 2, 2] * 3) for a in v["annotations"]]),
        "does not name the keypoints",
    ),
    "a keypoint lacking": (
        lambda v: v["categories"][0]["keypoints"].__setitem__(9, "left_hand"),
        "lacks left_wrist of the skeleton body_18",
    ),
    "a keypoint twice": (lambda v: v["categories"][0]["keypoints"].__setitem__(9, "nose"), "names a keypoint twice"),
    "no list of annotations": (lambda v: v.pop("annotations"), "it has no list 'annotations'"),
    "no pictures": (lambda v: v.update(images=[]), "it has no pictures"),
    "a picture without a name": (lambda v: v["images"][0].pop("file_name"), "not a COCO keypoint file"),
    "an annotation that is a number": (lambda v: v["annotations"].append(3), "not a COCO keypoint file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_that_names_the_file(tmp_path: Path, case: str) -> None:
    change, message = REFUSED[case]
    annotations, images = coco_files.write(tmp_path, coco_files.content(2))
    annotations.write_text(json.dumps(spoilt(change)))
    with pytest.raises(DatasetError, match=message) as error:
        load_dataset(annotations, images, BODY_18)
    assert str(error.value).startswith(f"{annotations}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"images": 3}', "[" * 5000])
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    annotations = tmp_path / "people.json"
    annotations.write_text(text)
    with pytest.raises(DatasetError, match=r"people\.json: not a COCO keypoint file"):
        load_dataset(annotations, tmp_path, BODY_18)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.json: No such file"):
        load_dataset(tmp_path / "nowhere.json", tmp_path, BODY_18)


def test_seventeen_keypoints_without_names_are_cocos(read: Read) -> None:
    values = coco_files.content(1)
    del values["categories"]
    ((record,), _) = read(values)
    assert record.keypoints[0, BODY_18.index("right_ankle")].tolist() == [36, 26, 2]


def test_pictures_without_people_fit_any_skeleton(read: Read) -> None:
    records, report = read(coco_files.content(2, people=0), PAIR)
    assert [record.keypoints.shape for record in records] == [(0, 3, 3)] * 2
    assert report.people == 0


def test_a_folder_alone_is_a_set_of_pictures_without_people(tmp_path: Path) -> None:
    _, images = coco_files.write(tmp_path, coco_files.content(2))
    (images / "inner").mkdir()
    (images / "inner" / "a.JPG").write_bytes(coco_files.jpeg())
    (images / "notes.txt").write_text("no picture")
    (images / "broken.png").write_bytes(b"no picture")
    records, report = load_background(images, BODY_18)
    assert [record.name for record in records] == ["001.jpg", "002.jpg", "inner/a.JPG"]
    assert all(record.keypoint_weights.all() and not len(record.boxes) for record in records)
    assert report.counts == {"picture broken": 1}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="it has no pictures"):
        load_background(tmp_path, BODY_18)


def test_the_report_is_a_short_table(read: Read) -> None:
    _, report = read(changed(bbox=None))
    assert str(replace(report, listed=1234)).splitlines() == [
        "       2 of 1,234 pictures",
        "       2 people with keypoints",
        "       0 ignored regions",
        "       1 x box rebuilt (box taken from the keypoints); first: annotation 200 of picture 2",
    ]


def test_the_real_data_reads_without_loss(shared_data: Path) -> None:
    records, report = load_dataset(
        shared_data / "coco" / "person_keypoints_train.json", shared_data / "coco" / "train", BODY_18
    )
    assert (len(records), report.people, report.ignored, report.counts) == (1921, 5279, 2861, {})
    labelled = np.concatenate([record.keypoints for record in records])
    assert labelled[..., 2].max() == 2
