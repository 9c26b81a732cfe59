"""Artifacts of jobs: the same promises in a local folder and in a file system of fsspec."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.jobs.storage import Storage
from service.jobs.storage_local import LocalFiles
from shared.errors import YaopError

JOB = "0123456789abcdef"
OTHER = "fedcba9876543210"


@pytest.fixture(params=["default", "folder", "file-url", "memory", "renaming"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each kind of place; `renaming` stands for a remote one where a file shows while it is being written."""
    urls = {
        "default": None,
        "folder": str(tmp_path / "artifacts"),
        "file-url": f"file://{tmp_path}/artifacts",
        "memory": f"memory://{uuid.uuid4().hex}",
        "renaming": f"dir::file://{tmp_path}/remote",
    }
    return Storage(urls[request.param], tmp_path / "data")


def _put(storage: Storage, name: str, data: bytes, job: str = JOB) -> None:
    file = storage.scratch(job) / f"new-{uuid.uuid4().hex}"
    file.write_bytes(data)
    storage.put(job, name, file)
    assert not file.exists()


def test_what_is_put_in_can_be_fetched_listed_and_measured(storage: Storage) -> None:
    _put(storage, "source", b"12345")
    _put(storage, "segments/000012-ab12.nut", b"123")
    assert storage.fetch(JOB, "source").read_bytes() == b"12345"
    assert storage.fetch(JOB, "segments/000012-ab12.nut").read_bytes() == b"123"
    assert storage.names(JOB) == ["segments/000012-ab12.nut", "source"]
    assert (storage.size(JOB, "source"), storage.exists(JOB, "source")) == (5, True)
    storage.drop_scratch(JOB)
    assert (storage.job_bytes(JOB), storage.total_bytes(), storage.jobs()) == (8, 8, [JOB])


def test_putting_again_replaces_even_what_was_fetched_before(storage: Storage) -> None:
    _put(storage, "poses.jsonl", b"old!")
    assert storage.fetch(JOB, "poses.jsonl").read_bytes() == b"old!"
    _put(storage, "poses.jsonl", b"new!")
    assert storage.fetch(JOB, "poses.jsonl").read_bytes() == b"new!"
    assert storage.names(JOB) == ["poses.jsonl"]


def test_what_is_not_there_says_so(storage: Storage) -> None:
    for ask in (storage.fetch, storage.size):
        with pytest.raises(FileNotFoundError):
            ask(JOB, "source")
    _put(storage, "segments/1.nut", b"1")
    with pytest.raises(FileNotFoundError):
        storage.size(JOB, "segments")
    assert not storage.exists(JOB, "source")
    assert (storage.names(OTHER), storage.job_bytes(OTHER), storage.touched(OTHER)) == ([], 0, 0)
    storage.remove(OTHER)
    storage.remove_file(JOB, "source")


def test_temporary_files_count_but_are_no_artifacts(storage: Storage) -> None:
    (storage.scratch(JOB) / "upload").write_bytes(b"1234567")
    assert storage.names(JOB) == []
    assert (storage.job_bytes(JOB), storage.jobs()) == (7, [JOB])
    assert storage.touched(JOB) > 0
    storage.drop_scratch(JOB)
    assert storage.job_bytes(JOB) == 0
    assert list(storage.scratch(JOB).iterdir()) == []


def test_removing_a_job_leaves_the_others(storage: Storage, tmp_path: Path) -> None:
    for job in (JOB, OTHER):
        _put(storage, "source", b"12345", job)
        _put(storage, "segments/1.nut", b"123", job)
        storage.fetch(job, "source")
        (storage.scratch(job) / "half.nut").write_bytes(b"1")
    storage.remove_file(JOB, "segments/1.nut")
    assert storage.names(JOB) == ["source"]
    storage.remove(JOB)
    assert (storage.jobs(), storage.names(JOB)) == ([OTHER], [])
    assert storage.names(OTHER) == ["segments/1.nut", "source"]
    assert not [path for path in tmp_path.rglob("*") if JOB in path.name]


def test_ids_and_names_cannot_lead_elsewhere(storage: Storage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    for job in ("..", "../../outside", "", ".", "0123456789ABCDEF", "0123456789abcdeg", "/" + JOB, JOB + "\n"):
        with pytest.raises(ValueError, match="no id"):
            storage.remove(job)
    for name in ("../outside", "/etc/passwd", "a/../../b", ".scratch/upload", "", "a//b", "a\\b", "a\x00"):
        with pytest.raises(ValueError, match="no name"):
            storage.fetch(JOB, name)
    assert outside.read_bytes() == b"mine"


def test_a_file_from_another_file_system_is_moved_too(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == storage.scratch(JOB).stat().st_dev:
        pytest.skip("the temporary folder is in the only file system")
    file = shm / f"yaop-{uuid.uuid4().hex}"
    file.write_bytes(b"from afar")
    storage.put(JOB, "source", file)
    assert storage.fetch(JOB, "source").read_bytes() == b"from afar"
    assert not file.exists()


def test_foreign_folders_beside_the_jobs_are_left_alone(tmp_path: Path) -> None:
    storage = Storage(None, tmp_path)
    _put(storage, "source", b"1")
    (tmp_path / "videos" / "lost+found").mkdir()
    storage.sweep()
    assert storage.jobs() == [JOB]
    assert (tmp_path / "videos" / "lost+found").is_dir()


def test_an_interrupted_removal_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(None, tmp_path)
    _put(storage, "source", b"1")

    def die(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            storage.remove(JOB)
    assert storage.jobs() == []
    storage.sweep()
    assert list((tmp_path / "videos").iterdir()) == []


def test_a_local_file_shows_only_once_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(None, tmp_path)
    file = storage.scratch(JOB) / "upload"
    file.write_bytes(b"12345")
    synced: list[tuple[str, bool]] = []
    real: Callable[[int], None] = os.fsync

    def watch(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name, storage.exists(JOB, "source")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    storage.put(JOB, "source", file)
    assert synced == [("upload", False), (JOB, True), ("videos", True)]


def test_files_that_vanish_while_they_are_counted_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LocalFiles(tmp_path)
    (files.scratch(JOB) / "a").write_bytes(b"12")
    (tmp_path / JOB / "gone").symlink_to(tmp_path / "nowhere")
    assert files.job_bytes(JOB) >= 2
    assert Storage(str(tmp_path), tmp_path).touched(JOB) > 0


def test_a_place_that_nothing_reaches_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(YaopError, match=r"nosuchthing://\.\.\., cannot be used"):
        Storage("nosuchthing://user:secret@bucket", tmp_path)


@pytest.mark.parametrize("url", [None, "artifacts", "memory://x"])
def test_the_free_space_is_that_of_the_disk_uploads_go_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    """The folders stand for disks of their own."""
    for name in ("data", "artifacts"):
        (tmp_path / name).mkdir()
    storage = Storage(str(tmp_path / url) if url == "artifacts" else url, tmp_path / "data" / "not" / "yet" / "made")
    asked: list[Path] = []

    def disk_usage(path: Path) -> object:
        asked.append(path)
        return SimpleNamespace(free=5)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", disk_usage)
        assert storage.free_bytes() == 5
    assert asked[0] in storage.scratch(JOB).parents
    assert asked == [tmp_path / ("artifacts" if url == "artifacts" else "data")]


def test_an_unknown_free_space_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> object:
        raise OSError("it is away")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    assert Storage(None, tmp_path).free_bytes() is None


def test_temporary_files_that_nobody_writes_can_be_dropped_all_at_once(storage: Storage) -> None:
    for job in (JOB, OTHER):
        _put(storage, "source", b"12345", job)
        storage.fetch(job, "source")
        (storage.scratch(job) / "half.nut").write_bytes(b"1")
    for path in [storage.scratch(OTHER), *storage.scratch(OTHER).rglob("*")]:
        os.utime(path, (0, time.time() - 7200))
    storage.drop_idle_scratch(3600)
    assert (storage.scratch(JOB) / "half.nut").exists()
    assert list(storage.scratch(OTHER).iterdir()) == []
    assert storage.fetch(OTHER, "source").read_bytes() == b"12345"
