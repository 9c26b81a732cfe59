"""The people of a video in the formats of others."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.media.pose_files import (
    CSV_COLUMNS,
    coco_stream,
    csv_stream,
    openpose_stream,
    read_frames,
    require_layout,
)
from service.media.streamed_zip import zip_stream
from shared.assembly import People
from shared.schema import Frame, LayoutError, ModelRef, frame_from_people, to_coco, to_openpose
from shared.skeleton import BODY_18

MODEL = ModelRef(name="m", version="1")


def _people(count: int, seed: int = 0) -> People:
    keypoints = np.random.default_rng(seed).uniform(0.1, 0.9, (count, 18, 3)).round(2).astype(np.float32)
    keypoints[..., :2] *= 100
    keypoints[:, 4] = 0
    return People(keypoints, np.full(count, 0.5, np.float32))


def _frame(index: int, people: People, ids: list[int | None] | None = None) -> Frame:
    return frame_from_people(people, BODY_18, 320, 240, MODEL, {}, index, index / 30, ids)


FRAMES = [_frame(0, _people(2), [7, 3]), _frame(1, _people(0)), _frame(2, _people(1, seed=1))]


def test_a_frame_that_was_written_as_a_line_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "poses.jsonl"
    path.write_text("".join(frame.model_dump_json() + "\n" for frame in FRAMES))
    assert list(read_frames(path)) == FRAMES


def test_the_table_has_a_row_for_each_keypoint_that_was_seen() -> None:
    head, *rows = csv.reader(io.StringIO(b"".join(csv_stream(FRAMES)).decode()))
    assert tuple(head) == CSV_COLUMNS
    assert len(rows) == 17 * 3
    nose = FRAMES[0].people[1].keypoints["nose"]
    assert nose is not None
    found = [row for row in rows if row[:3] == ["0", "0.0", "1"] and row[5] == "nose"]
    assert found == [["0", "0.0", "1", "3", "0.5", "nose", str(nose.x), str(nose.y), str(nose.score)]]
    assert {row[3] for row in rows if row[0] == "2"} == {""}
    assert "right_wrist" not in {row[5] for row in rows}


def test_a_long_table_comes_in_pieces() -> None:
    pieces = list(csv_stream(_frame(index, _people(5)) for index in range(100)))
    assert len(pieces) > 2
    assert len(list(csv.reader(io.StringIO(b"".join(pieces).decode())))) == 1 + 100 * 5 * 17


def test_the_archive_has_a_file_for_each_frame_as_openpose_writes_it() -> None:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(openpose_stream(FRAMES, "Größe"))))
    assert archive.testzip() is None
    assert archive.namelist() == [f"Größe_{index:012d}_keypoints.json" for index in range(3)]
    first, second, _ = (json.loads(archive.read(name)) for name in archive.namelist())
    assert first == to_openpose(_people(2), BODY_18, [7, 3])
    assert second == to_openpose(_people(0), BODY_18)


def test_coco_results_name_their_frame() -> None:
    results = json.loads(b"".join(coco_stream(FRAMES)))
    assert results == to_coco(_people(2), 0) + to_coco(_people(1, seed=1), 2)
    assert json.loads(b"".join(coco_stream(FRAMES[1:2]))) == []


def test_another_skeleton_has_no_such_layout(tmp_path: Path) -> None:
    other = FRAMES[0].model_copy(deep=True)
    other.people[0].keypoints = {"tail": other.people[0].keypoints["nose"]}
    path = tmp_path / "poses.jsonl"
    path.write_text(FRAMES[1].model_dump_json() + "\n" + other.model_dump_json() + "\n")
    for layout in ("native", "csv"):
        require_layout(path, layout)
    for layout in ("openpose", "coco"):
        with pytest.raises(LayoutError, match="body_18"):
            require_layout(path, layout)


def test_an_empty_archive_and_one_of_many_members_are_read_by_others(tmp_path: Path) -> None:
    assert zipfile.ZipFile(io.BytesIO(b"".join(zip_stream([])))).namelist() == []
    count = 70_000  # more than the old format can count
    path = tmp_path / "many.zip"
    with path.open("wb") as file:
        file.writelines(zip_stream((str(index), b"x" * (index % 3)) for index in range(count)))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == count
        assert archive.read("69998") == b"xx"


def test_members_beyond_four_gigabytes_are_found(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    start = 5 << 30
    with path.open("wb") as file:
        file.seek(start)  # a hole: it takes no space
        file.writelines(zip_stream([("a", b"first"), ("b", b"second")], start))
    with zipfile.ZipFile(path) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [b"first", b"second"]


def test_a_long_video_takes_no_more_memory_than_a_short_one() -> None:
    def frames(count: int) -> Iterator[Frame]:
        return (FRAMES[index % 3].model_copy(update={"index": index}) for index in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        for stream in (csv_stream(frames(count)), coco_stream(frames(count)), openpose_stream(frames(count), "v")):
            for _ in stream:
                pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(1500) - peak(150) < 1350 * 120  # the directory at the archive's end is all that grows
