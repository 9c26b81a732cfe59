from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.bundle import (
    Bundle,
    BundleError,
    Manifest,
    find_bundle,
    is_bundle_name,
    list_bundles,
    load_bundle,
    shipped_models_dir,
    skeleton_fields,
    write_bundle,
)
from shared.skeleton import BODY_18, Skeleton

FILES = {
    "saved_model/saved_model.pb": b"graph" * 1000,
    "saved_model/variables/variables.index": b"index",
    "model.tflite": b"TFL3" * 500,
    "model_card.md": b"# Card\n",
}


def manifest(**changes: Any) -> Manifest:
    facts: dict[str, Any] = {
        "name": "tiny",
        "version": "1.0.0",
        "skeleton": "body_18",
        "stride": 4,
        "shapes": [(128, 128), (96, 128)],
        "max_peaks": 32,
        "thresholds": {"peak": 0.05},
        "accuracy": [],
        "licence": "Apache-2.0",
        "created": "2025-01-01T00:00:00Z",
        "architecture": "mobilenet_fpn",
    }
    return Manifest.model_validate(facts | changes)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for relative, content in FILES.items():
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(content)
    return folder


@pytest.fixture
def bundle(source: Path, tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "models" / "tiny", manifest(), source)


def test_a_written_bundle_is_read_back(bundle: Bundle) -> None:
    loaded = load_bundle(bundle.path)
    assert loaded == bundle
    assert set(loaded.manifest.files) == set(FILES)
    assert loaded.skeleton is BODY_18
    assert loaded.manifest.shapes == ((128, 128), (96, 128))
    assert (loaded.saved_model / "saved_model.pb").read_bytes() == FILES["saved_model/saved_model.pb"]
    assert loaded.litert is not None
    assert loaded.litert.read_bytes() == FILES["model.tflite"]


def test_a_bundle_without_a_litert_file_says_so(source: Path, tmp_path: Path) -> None:
    (source / "model.tflite").unlink()
    assert write_bundle(tmp_path / "tiny", manifest(), source).litert is None


def test_a_bundle_needs_a_model(source: Path, tmp_path: Path) -> None:
    (source / "model.tflite").unlink()
    (source / "saved_model/saved_model.pb").unlink()
    with pytest.raises(BundleError, match=r"manifest\.json: lists neither"):
        write_bundle(tmp_path / "tiny", manifest(), source)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("relative", FILES)
def test_a_missing_file_is_named(bundle: Bundle, relative: str) -> None:
    (bundle.path / relative).unlink()
    with pytest.raises(BundleError, match=f"{relative}: missing"):
        load_bundle(bundle.path, verify=False)


@pytest.mark.parametrize("relative", FILES)
def test_a_truncated_file_is_named(bundle: Bundle, relative: str) -> None:
    (bundle.path / relative).write_bytes(FILES[relative][:-1])
    with pytest.raises(BundleError, match=f"{relative}: truncated"):
        load_bundle(bundle.path, verify=False)


@pytest.mark.parametrize("relative", FILES)
def test_a_tampered_file_of_the_same_size_is_named(bundle: Bundle, relative: str) -> None:
    (bundle.path / relative).write_bytes(b"x" + FILES[relative][1:])
    with pytest.raises(BundleError, match=f"{relative}: altered"):
        load_bundle(bundle.path)


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: No such file"):
        load_bundle(tmp_path / "none")


def _edit(bundle: Bundle, **changes: Any) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"format_version": 2}, "format_version"),
        ({"name": "../evil"}, "name"),
        ({"skeleton": "hand_21"}, "unknown skeleton 'hand_21'"),
        ({"shapes": []}, "shapes"),
        ({"shapes": [[130, 128]]}, "130 x 128 is not a multiple of the stride 4"),
        ({"files": {"../secret": {"sha256": "0" * 64, "bytes": 1}}}, "not a path inside the bundle"),
        ({"files": {"/etc/passwd": {"sha256": "0" * 64, "bytes": 1}}}, "not a path inside the bundle"),
        ({"files": {"a\\..\\b": {"sha256": "0" * 64, "bytes": 1}}}, "not a path inside the bundle"),
        ({"files": {"model.tflite": {"sha256": "abc", "bytes": 1}}}, "sha256"),
    ],
)
def test_an_invalid_manifest_is_refused_with_the_reason(bundle: Bundle, changes: dict[str, Any], word: str) -> None:
    _edit(bundle, **changes)
    with pytest.raises(BundleError, match=r"manifest\.json: not a valid manifest") as caught:
        load_bundle(bundle.path)
    assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00"])
def test_a_manifest_that_is_not_one_is_refused(bundle: Bundle, content: bytes) -> None:
    (bundle.path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: not a valid manifest"):
        load_bundle(bundle.path)


def test_a_link_out_of_the_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(FILES["model.tflite"])
    (bundle.path / "model.tflite").unlink()
    (bundle.path / "model.tflite").symlink_to(outside)
    with pytest.raises(BundleError, match=r"model\.tflite: leads out of the bundle"):
        load_bundle(bundle.path)


def test_an_existing_bundle_is_only_replaced_on_request(bundle: Bundle, source: Path) -> None:
    with pytest.raises(BundleError, match="already exists"):
        write_bundle(bundle.path, manifest(version="2.0.0"), source)
    assert load_bundle(bundle.path).manifest.version == "1.0.0"
    write_bundle(bundle.path, manifest(version="2.0.0"), source, replace=True)
    assert load_bundle(bundle.path).manifest.version == "2.0.0"
    assert os.listdir(bundle.path.parent) == ["tiny"]


def test_a_failed_write_leaves_the_old_bundle_and_no_rubbish(
    bundle: Bundle, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails_for_the_new_bundle(self: Path, target: Path) -> Path:
        if target == bundle.path and ".old." not in str(self):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_bundle)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(bundle.path, manifest(version="2.0.0"), source, replace=True)
    assert load_bundle(bundle.path).manifest.version == "1.0.0"
    assert os.listdir(bundle.path.parent) == ["tiny"]


def test_the_name_does_not_appear_before_the_bundle_is_whole(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(tmp_path / "models" / "tiny", manifest(), source)
    assert os.listdir(tmp_path / "models") == []


def test_bundles_are_found_by_name_and_the_first_folder_wins(bundle: Bundle, source: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    mine = write_bundle(first / "tiny", manifest(version="9"), source)
    write_bundle(first / "other", manifest(name="other"), source)
    folders = [first, bundle.path.parent, tmp_path / "not-there"]
    assert find_bundle("tiny", folders) == mine.path
    assert find_bundle("tiny", folders[1:]) == bundle.path
    assert list_bundles(folders) == {"tiny": mine.path, "other": first / "other"}


@pytest.mark.parametrize("name", ["..", ".", "", "../models/tiny", "tiny/", "/tiny", "tiny\n", "none", "a\\b", "t*"])
def test_other_names_find_nothing_and_list_what_there_is(bundle: Bundle, name: str) -> None:
    with pytest.raises(BundleError, match="there are: tiny"):
        find_bundle(name, [bundle.path.parent])


def test_names_cannot_leave_a_folder() -> None:
    assert all(is_bundle_name(name) for name in ("mobilenet_fpn", "a", "v1.2-b", "7"))
    assert not any(is_bundle_name(name) for name in ("", ".", "..", "a/b", ".hidden", "a\n", "-x", "ä", "a" * 65))


def test_the_shipped_folder_is_beside_the_packages() -> None:
    assert shipped_models_dir().name == "models"


CRANE = Skeleton.from_json({"name": "crane", "keypoints": ["hook", "top"], "limbs": [["hook", "top"]]})


def test_a_bundle_carries_a_skeleton_that_is_not_built_in(source: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "cranes", manifest(**skeleton_fields(CRANE)), source)
    assert load_bundle(tmp_path / "cranes").skeleton == CRANE


def test_a_manifest_without_a_definition_needs_none_for_a_built_in_skeleton(bundle: Bundle) -> None:
    assert skeleton_fields(BODY_18) == {"skeleton": "body_18", "skeleton_definition": None}
    assert "skeleton_definition" not in (bundle.path / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skeleton": "crane"}, "unknown skeleton 'crane'"),
        ({"skeleton": "cart", "skeleton_definition": CRANE.to_json()}, "not that of the skeleton 'cart'"),
        ({"skeleton": "crane", "skeleton_definition": CRANE.to_json() | {"limbs": [["hook"]]}}, "limbs"),
        ({"skeleton": "body_18", "skeleton_definition": CRANE.to_json() | {"name": "body_18"}}, "built-in"),
    ],
)
def test_a_wrong_skeleton_is_told(bundle: Bundle, changes: dict[str, Any], message: str) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle.path)
