"""Shards and their manifest: what is in them, what a second call writes, what damage is found."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from shared.errors import YaopError
from shared.skeleton import BODY_18
from tests import coco_files, photos
from trainer.data.coco import Record, load_dataset
from trainer.data.records import MANIFEST, RecordsError, read_manifest, verify_records, write_records
from trainer.storage import StorageError


def data_set(folder: Path, values: dict[str, Any] | None = None) -> list[Record]:
    records, _ = load_dataset(*coco_files.write(folder / "data", values or coco_files.content(5)), BODY_18)
    return records


def write(records: list[Record], folder: Path | str, **options: Any) -> Any:
    return write_records(records, str(folder), skeleton=BODY_18, **({"shard_size": 2, "workers": 1} | options))


def examples(folder: Path) -> dict[str, Any]:
    """The features of everything in a folder's shards, by picture name."""
    import tensorflow as tf

    found: dict[str, Any] = {}
    for shard in read_manifest(str(folder)).shards:
        for data in tf.data.TFRecordDataset(str(folder / shard.name)).as_numpy_iterator():
            features = tf.train.Example.FromString(data).features.feature
            found[features["image/name"].bytes_list.value[0].decode()] = features
    return found


def floats(feature: Any, *shape: int) -> np.ndarray:
    return np.array(feature.float_list.value, np.float32).reshape(shape)


def oriented(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG file with an EXIF orientation."""
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation])
    exif += bytes(6)
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    values = coco_files.content(5, people=2)
    values["annotations"].append(coco_files.person(9, 1, keypoints=None, num_keypoints=None, bbox=[1, 2, 3, 4]))
    records = data_set(tmp_path, values)
    manifest = write(records, tmp_path / "records")
    found = examples(tmp_path / "records")
    assert sorted(found) == [record.name for record in records]
    for record in records:
        features = found[record.name]
        assert features["image/encoded"].bytes_list.value[0] == record.image.read_bytes()
        assert features["image/width"].int64_list.value[0] == coco_files.WIDTH
        assert features["image/height"].int64_list.value[0] == coco_files.HEIGHT
        assert (floats(features["people/keypoints"], -1, 18, 3) == record.keypoints).all()
        assert (floats(features["people/boxes"], -1, 4) == record.boxes).all()
        assert (floats(features["people/areas"], -1) == record.areas).all()
        assert (floats(features["ignored/boxes"], -1, 4) == record.ignored).all()
        assert floats(features["keypoint_weights"], -1).tolist() == [1] * 18
        assert features["only_labelled"].int64_list.value[0] == 0
        assert features["mask/encoded"].bytes_list.value[0] == b""
    assert (manifest.pictures, manifest.people, manifest.ignored) == (5, 10, 1)
    assert [shard.pictures for shard in manifest.shards] == [2, 2, 1]
    assert manifest.shards[1].name == "part-00001-of-00003.tfrecord"
    assert sorted(stamps(tmp_path / "records")) == [MANIFEST, *(shard.name for shard in manifest.shards)]
    assert read_manifest(str(tmp_path / "records")) == manifest
    verify_records(str(tmp_path / "records"))


def test_a_crowds_segmentation_becomes_a_mask(tmp_path: Path) -> None:
    values = coco_files.content(1)
    square = [[30, 10, 50, 10, 50, 30, 30, 30]]
    values["annotations"].append(coco_files.person(9, 1, iscrowd=1, segmentation=square))
    write(data_set(tmp_path, values), tmp_path / "records", max_side=32)
    (features,) = examples(tmp_path / "records").values()
    mask = cv2.imdecode(np.frombuffer(features["mask/encoded"].bytes_list.value[0], np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (24, 32)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[10, 20] == 255
    assert mask[:, :10].max() == 0


def test_large_pictures_shrink_with_their_labels(tmp_path: Path) -> None:
    records = data_set(tmp_path, coco_files.content(1))
    write(records, tmp_path / "records", max_side=32)
    (features,) = examples(tmp_path / "records").values()
    image = cv2.imdecode(np.frombuffer(features["image/encoded"].bytes_list.value[0], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (24, 32, 3)
    assert (features["image/width"].int64_list.value[0], features["image/height"].int64_list.value[0]) == (32, 24)
    nose = floats(features["people/keypoints"], 18, 3)[0]
    np.testing.assert_allclose(nose, [(20 + 0.5) / 2 - 0.5, (10 + 0.5) / 2 - 0.5, 2])
    np.testing.assert_allclose(floats(features["people/boxes"], 4), [8.75, 3.75, 10, 11])
    np.testing.assert_allclose(floats(features["people/areas"], 1), [50])


def test_absent_keypoints_stay_zeros_when_shrunk(tmp_path: Path) -> None:
    values = coco_files.content(1)
    values["annotations"][0]["keypoints"][:3] = [0, 0, 0]
    values["annotations"][0]["num_keypoints"] = 16
    write(data_set(tmp_path, values), tmp_path / "records", max_side=32)
    (features,) = examples(tmp_path / "records").values()
    assert floats(features["people/keypoints"], 18, 3)[0].tolist() == [0, 0, 0]


def test_any_picture_is_stored_as_an_upright_jpeg(tmp_path: Path) -> None:
    values = coco_files.content(3)
    values["images"][1] |= {"width": 32, "height": 64}
    records = data_set(tmp_path, values)
    gradient = np.zeros((48, 64, 3), np.uint8)
    gradient[:, 32:, 0] = 250
    records[0].image.write_bytes(photos.encode(gradient, "png"))
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, :32] = 250  # on the left, so above once it is turned
    records[1].image.write_bytes(oriented(photos.encode(wide, "jpeg"), 6))
    _, gray = cv2.imencode(".jpg", np.full((48, 64), 99, np.uint8))
    records[2].image.write_bytes(gray.tobytes())
    assert write(records, tmp_path / "records").report.counts == {}
    found = examples(tmp_path / "records")
    stored = [found[record.name]["image/encoded"].bytes_list.value[0] for record in records]
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    first, second, _ = (cv2.imdecode(np.frombuffer(data, np.uint8), flags) for data in stored)
    assert all(data[:2] == b"\xff\xd8" for data in stored)
    assert first is not None and second is not None
    assert first.shape == (48, 64, 3)
    assert first[20, 60, 0] > 200 > first[20, 60, 1]
    assert second.shape == (64, 32, 3)
    assert second[5].mean() > 200 > second[60].mean()
    assert stored[2] == gray.tobytes()


def test_cmyk_is_stored_as_rgb(tmp_path: Path) -> None:
    from PIL import Image

    records = data_set(tmp_path, coco_files.content(1))
    Image.new("CMYK", (64, 48), (0, 255, 255, 0)).save(records[0].image, "JPEG")
    write(records, tmp_path / "records")
    (features,) = examples(tmp_path / "records").values()
    stored = features["image/encoded"].bytes_list.value[0]
    assert stored != records[0].image.read_bytes()
    pixels = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    assert pixels[20, 20, 0] > 200 > 60 > pixels[20, 20, 1]


def test_unusable_pictures_are_left_out_and_listed(tmp_path: Path) -> None:
    records = data_set(tmp_path, coco_files.content(8))
    records[0].image.write_bytes(b"no picture")
    records[1].image.write_bytes(records[1].image.read_bytes()[:-200])
    records[2].image.write_bytes(coco_files.jpeg(width=20))
    records[3].image.unlink()
    manifest = write(records, tmp_path / "records")
    assert (manifest.pictures, manifest.people) == (4, 4)
    assert sorted(examples(tmp_path / "records")) == [record.name for record in records[4:]]
    assert manifest.report.counts == {"picture broken": 3, "picture of another size": 1}
    cases = sorted(finding.where for finding in manifest.report.findings)
    assert [case[:8] for case in cases] == ["001.jpg:", "002.jpg:", "003.jpg:", "004.jpg:"]
    assert "truncated" in cases[1]
    assert cases[2] == "003.jpg: 20 x 48, labelled at 64 x 48"
    verify_records(str(tmp_path / "records"))


def test_a_set_of_mostly_unusable_pictures_is_refused(tmp_path: Path) -> None:
    records = data_set(tmp_path, coco_files.content(3))
    for record in records[:2]:
        record.image.write_bytes(b"no picture")
    with pytest.raises(RecordsError, match=r"2 of 3 pictures are unusable; first: 00\d\.jpg: "):
        write(records, tmp_path / "records")
    with pytest.raises(RecordsError, match="unfinished records here"):
        read_manifest(str(tmp_path / "records"))


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no pictures to write"):
        write([], tmp_path / "records")


def test_the_same_call_again_writes_nothing(tmp_path: Path) -> None:
    records = data_set(tmp_path)
    manifest = write(records, tmp_path / "records")
    before = stamps(tmp_path / "records")
    assert write(data_set_again(tmp_path), tmp_path / "records") == manifest
    assert stamps(tmp_path / "records") == before


def data_set_again(folder: Path) -> list[Record]:
    """The data set in this folder, read anew."""
    return load_dataset(folder / "data" / "people.json", folder / "data" / "images", BODY_18)[0]


def test_only_shards_that_are_missing_or_damaged_are_written_again(tmp_path: Path) -> None:
    records = data_set(tmp_path)
    manifest = write(records, tmp_path / "records")
    before = stamps(tmp_path / "records")
    first, second, third = (shard.name for shard in manifest.shards)
    (tmp_path / "records" / first).unlink()
    damage(tmp_path / "records" / second)
    assert write(records, tmp_path / "records") == manifest
    after = stamps(tmp_path / "records")
    assert after[third] == before[third]
    assert after[second] != before[second]
    verify_records(str(tmp_path / "records"))


class KilledError(Exception):
    """Stands for a kill between two shards."""


def test_a_broken_off_call_goes_on_where_it_stopped(tmp_path: Path) -> None:
    records = data_set(tmp_path)

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        write(records, tmp_path / "records", progress=kill)
    with pytest.raises(RecordsError, match="unfinished records here"):
        verify_records(str(tmp_path / "records"))
    (first,) = (name for name in stamps(tmp_path / "records") if name.endswith(".tfrecord"))
    before = stamps(tmp_path / "records")
    calls: list[tuple[int, int]] = []
    write(records, tmp_path / "records", progress=lambda done, total: calls.append((done, total)))
    assert stamps(tmp_path / "records")[first] == before[first]
    assert calls == [(2, 5), (3, 5), (4, 5), (5, 5), (5, 5)]
    verify_records(str(tmp_path / "records"))


def change_a_label(records: list[Record]) -> None:
    records[0].keypoints[0, 0, 0] += 1


def change_a_picture(records: list[Record]) -> None:
    records[0].image.write_bytes(coco_files.jpeg(99))


@pytest.mark.parametrize("change", [change_a_label, change_a_picture])
def test_a_changed_input_is_written_again_and_the_rest_is_not(tmp_path: Path, change: Any) -> None:
    records = data_set(tmp_path)
    write(records, tmp_path / "records")
    before = stamps(tmp_path / "records")
    change(records)
    write(records, tmp_path / "records")
    after = stamps(tmp_path / "records")
    assert sum(before[name] != after[name] for name in before) == 2  # a shard and the manifest
    verify_records(str(tmp_path / "records"))
    found = examples(tmp_path / "records")["001.jpg"]
    assert floats(found["people/keypoints"], -1, 18, 3)[0, 0, 0] == records[0].keypoints[0, 0, 0]
    assert found["image/encoded"].bytes_list.value[0] == records[0].image.read_bytes()


def test_other_options_leave_nothing_of_the_old_records(tmp_path: Path) -> None:
    records = data_set(tmp_path)
    write(records, tmp_path / "records")
    (tmp_path / "records" / ".part-00000-of-00003.tfrecord.x7").write_bytes(b"left by a kill")
    (tmp_path / "records" / "notes.txt").write_text("mine")
    write(records, tmp_path / "records", shard_size=3, max_side=32)
    names = ["manifest.json", "notes.txt", "part-00000-of-00002.tfrecord", "part-00001-of-00002.tfrecord"]
    assert sorted(stamps(tmp_path / "records")) == names
    verify_records(str(tmp_path / "records"))


def test_records_with_a_scheme_go_through_tensorflow(tmp_path: Path) -> None:
    records = data_set(tmp_path)
    address = f"file://{tmp_path}/records"
    manifest = write(records, address)
    before = stamps(tmp_path / "records")
    assert write(records, address) == manifest == read_manifest(str(tmp_path / "records"))
    assert stamps(tmp_path / "records").keys() == before.keys()
    verify_records(address)


def test_an_unusable_place_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    record = replace(data_set(tmp_path)[0], image=tmp_path / "gone.jpg")
    with pytest.raises(StorageError, match="file"):
        write([record], tmp_path / "file")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite_manifest(folder: Path, shard: int, **changes: Any) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["shards"][shard] |= changes
    path.write_text(json.dumps(manifest))


def test_verify_names_the_damaged_shard(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    second = write(data_set(tmp_path), folder).shards[1]
    shard = folder / second.name
    whole = shard.read_bytes()

    damage(shard)
    with pytest.raises(RecordsError, match=rf"{second.name}: its sha256 is not the manifest's"):
        verify_records(str(folder))

    rewrite_manifest(folder, 1, sha256=hashlib.sha256(shard.read_bytes()).hexdigest())
    with pytest.raises(RecordsError, match=rf"{second.name}: picture \d cannot be read"):
        verify_records(str(folder))

    shard.write_bytes(whole[:-1])
    with pytest.raises(RecordsError, match=rf"{second.name}: {len(whole) - 1} bytes, the manifest says {len(whole)}"):
        verify_records(str(folder))

    shard.write_bytes(whole)
    rewrite_manifest(folder, 1, sha256=second.sha256, people=7)
    with pytest.raises(RecordsError, match=rf"{second.name}: 2 pictures and 2 people, the manifest says 2 and 7"):
        verify_records(str(folder))

    shard.unlink()
    with pytest.raises(YaopError, match=rf"{second.name}: No such file"):
        verify_records(str(folder))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "the file: Invalid JSON"), ("{}", "skeleton: Field required")]
)  # fmt: skip
def test_a_damaged_manifest_is_told_and_written_anew(tmp_path: Path, text: str, message: str) -> None:
    records = data_set(tmp_path)
    manifest = write(records, tmp_path / "records")
    (tmp_path / "records" / MANIFEST).write_text(text)
    with pytest.raises(RecordsError, match=message):
        read_manifest(str(tmp_path / "records"))
    assert write(records, tmp_path / "records") == manifest


def test_a_folder_without_records_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no records here; `yaop train records` writes them"):
        read_manifest(str(tmp_path))
