"""`yaop train download` against a server that misbehaves."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import cli
from tests.coco_server import (
    ANNOTATIONS,
    TRAIN,
    VAL,
    Answer,
    CocoServer,
    annotations_of,
    make_archive,
    make_zip,
    save_archives,
    serving,
    tiny_coco,
)
from trainer.data import download as coco_2017
from trainer.data.download import COCO_2017, DownloadOptions, download
from trainer.data.fetch import DownloadError, Patience
from trainer.data.meter import PlainMeter, readable, terminal_meter

ROOT = Path(__file__).resolve().parents[2]
QUICK = Patience(attempts=4, first_delay=0.001, longest_delay=0.01)


@pytest.fixture
def coco() -> Iterator[CocoServer]:
    with serving(tiny_coco()) as server:
        yield server


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def run(coco: CocoServer, tmp_path: Path, said: list[str]) -> Callable[..., bool]:
    """Download into ``tmp_path / "coco"``, with the options given."""

    def run(**options: object) -> bool:
        chosen = DownloadOptions(**{"url": coco.url, "patience": QUICK} | options)
        return download(coco.archives, tmp_path / "coco", PlainMeter(said.append), chosen)

    return run


def assert_whole(folder: Path, coco: CocoServer) -> None:
    """All and nothing but the files of the data set, with their contents."""
    import io
    import zipfile

    expected = {
        entry: archive.read(entry)
        for content in coco.contents.values()
        for archive in [zipfile.ZipFile(io.BytesIO(content))]
        for entry in archive.namelist()
        if "captions" not in entry
    }
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == expected


def test_everything_arrives_in_the_layout_of_the_recipes_and_a_second_run_does_nothing(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    assert run()
    assert_whole(tmp_path / "coco", coco)
    assert sorted(path.name for path in (tmp_path / "coco").iterdir()) == ["annotations", "train2017", "val2017"]
    requests = len(coco.log)
    assert not run()
    assert len(coco.log) == requests == 3


def test_files_come_at_the_same_time(run: Callable[..., bool], coco: CocoServer) -> None:
    together = threading.Barrier(3)
    respond = coco.answer

    def wait_for_the_others(name: str) -> Answer:
        together.wait(20)
        return respond(name)

    coco.answer = wait_for_the_others
    assert run()


def test_zip_files_can_be_kept(run: Callable[..., bool], coco: CocoServer, tmp_path: Path) -> None:
    run(keep_zips=True)
    for name, content in coco.contents.items():
        assert (tmp_path / "coco" / name).read_bytes() == content


def test_a_dropped_connection_goes_on_from_where_it_broke(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path, said: list[str]
) -> None:
    coco.script[TRAIN] = [Answer(drop_after=70_000), Answer(drop_after=10_000), Answer(drop_after=0)]
    run()
    assert_whole(tmp_path / "coco", coco)
    assert [request.start for request in coco.requests(TRAIN)] == [0, 70_000, 80_000, 80_000]
    assert sum(request.sent for request in coco.requests(TRAIN)) == len(coco.contents[TRAIN])
    assert any("train2017.zip" in line and "trying again" in line for line in said)


def test_a_server_that_ignores_ranges_still_completes_the_file_and_costs_nothing_that_is_there(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    coco.script[TRAIN] = [
        Answer(drop_after=100_000),
        Answer(ranges=False, drop_after=60_000),
        Answer(ranges=False, drop_after=150_000),
        Answer(),
    ]
    run()
    assert_whole(tmp_path / "coco", coco)
    assert [request.start for request in coco.requests(TRAIN)] == [0, 0, 0, 150_000]


def test_a_server_that_tells_no_length_still_completes_the_file(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    coco.script[TRAIN] = [Answer(length=-1, drop_after=100_000), Answer(length=-1)]
    run()
    assert_whole(tmp_path / "coco", coco)
    assert [request.start for request in coco.requests(TRAIN)] == [0, 100_000]


def test_a_busy_server_is_asked_again(run: Callable[..., bool], coco: CocoServer, tmp_path: Path) -> None:
    coco.script[VAL] = [Answer(503), Answer(429), Answer(500)]
    run()
    assert_whole(tmp_path / "coco", coco)
    assert len(coco.requests(VAL)) == 4


def test_a_server_that_stays_busy_is_given_up(run: Callable[..., bool], coco: CocoServer) -> None:
    coco.always[VAL] = Answer(503)
    with pytest.raises(DownloadError, match=r"zips/val2017\.zip: HTTP 503 .*; gave up after 4 attempts"):
        run()
    assert len(coco.requests(VAL)) == 4


def test_the_wait_between_attempts_doubles_up_to_a_limit() -> None:
    patience = Patience(first_delay=1, longest_delay=10)
    assert [patience.delay(failures) for failures in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_a_server_that_is_not_there_is_an_error_after_some_attempts(run: Callable[..., bool]) -> None:
    with pytest.raises(DownloadError, match="gave up after 4 attempts"):
        run(url="http://127.0.0.1:9")


def test_a_file_that_is_not_there_is_an_error_at_once(run: Callable[..., bool], coco: CocoServer) -> None:
    coco.always[ANNOTATIONS] = Answer(404)
    with pytest.raises(DownloadError, match=r"annotations_trainval2017\.zip: HTTP 404 .*--url"):
        run()
    assert len(coco.requests(ANNOTATIONS)) == 1


def test_an_address_without_a_scheme_is_refused(run: Callable[..., bool]) -> None:
    with pytest.raises(DownloadError, match=r"--url example\.org"):
        run(url="example.org")


def test_a_corrupt_file_is_fetched_once_more(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path, said: list[str]
) -> None:
    coco.script[VAL] = [Answer(corrupt=True)]
    run()
    assert_whole(tmp_path / "coco", coco)
    assert [request.start for request in coco.requests(VAL)] == [0, 0]
    assert any("val2017.zip" in line and "fetching it again" in line for line in said)


def test_a_file_that_stays_corrupt_is_deleted_and_an_error(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    coco.always[VAL] = Answer(corrupt=True)
    with pytest.raises(DownloadError, match=r"zips/val2017\.zip: came twice with a wrong MD5"):
        run()
    assert len(coco.requests(VAL)) == 2
    assert not list((tmp_path / "coco").glob("val2017*"))


def test_a_corrupt_rest_of_an_earlier_run_is_found_out(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / f"{VAL}.part").write_bytes(b"?" * 1000)
    (tmp_path / "coco" / f"{TRAIN}.part").write_bytes(coco.contents[TRAIN] + b"too long")
    run()
    assert_whole(tmp_path / "coco", coco)
    assert [request.start for request in coco.requests(VAL)] == [1000, 0]


def test_a_zip_file_that_is_there_already_is_checked_and_not_fetched(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / TRAIN).write_bytes(coco.contents[TRAIN])
    (tmp_path / "coco" / VAL).write_bytes(coco.contents[VAL][:1234])
    run()
    assert_whole(tmp_path / "coco", coco)
    assert coco.requests(TRAIN) == []
    assert [request.start for request in coco.requests(VAL)] == [1234]


@pytest.mark.parametrize("length", [1000, 10_000_000])
def test_a_file_of_another_size_is_an_error_at_once(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path, length: int
) -> None:
    coco.always[VAL] = Answer(length=length)
    size = len(coco.contents[VAL])
    with pytest.raises(DownloadError, match=f"the server has a file of {length} bytes, not of {size}"):
        run()
    assert len(coco.requests(VAL)) == 1
    assert not (tmp_path / "coco" / f"{VAL}.part").exists()


def test_without_room_for_zips_and_contents_nothing_is_fetched(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    needed = sum(archive.bytes + archive.unpacked for archive in coco.archives)
    with pytest.raises(DownloadError, match=f"{needed} more bytes are needed .* {needed - 1} bytes are free"):
        run(free=lambda folder: needed - 1)
    assert coco.log == []
    (tmp_path / "coco" / f"{TRAIN}.part").write_bytes(coco.contents[TRAIN][:5000])
    assert run(free=lambda folder: needed - 5000)


def test_a_disk_that_fills_up_later_is_an_error_that_says_how_to_go_on(
    run: Callable[..., bool], tmp_path: Path
) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / f"{VAL}.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"val2017\.zip\.part: No space left on device; run the same command"):
        run()


def test_unpacking_goes_on_where_it_was_interrupted(run: Callable[..., bool], coco: CocoServer, tmp_path: Path) -> None:
    class Interrupting(PlainMeter):
        def start(self, label: str, total: int, done: int = 0) -> Callable[[int], None]:
            files: list[int] = []

            def advance(amount: int) -> None:
                files.append(amount)
                if label == f"unpack {TRAIN}" and len(files) == 10:
                    raise KeyboardInterrupt

            return advance

    folder = tmp_path / "coco"
    with pytest.raises(KeyboardInterrupt):
        download(coco.archives, folder, Interrupting(), DownloadOptions(url=coco.url, patience=QUICK))
    assert not (folder / "train2017").exists()
    unpacked = sorted((folder / "train2017.part").iterdir())
    assert len(unpacked) == 10
    damaged, *whole = unpacked
    damaged.write_bytes(bytes(damaged.stat().st_size))
    before = {path.name: path.stat().st_mtime_ns for path in whole}
    run()
    assert_whole(folder, coco)
    assert {name: (folder / "train2017" / name).stat().st_mtime_ns for name in before} == before
    assert len(coco.requests(TRAIN)) == 1


def test_a_folder_that_lost_pictures_is_completed(run: Callable[..., bool], coco: CocoServer, tmp_path: Path) -> None:
    run()
    lost = tmp_path / "coco" / "val2017" / "000000000003.jpg"
    lost.unlink()
    assert run()
    assert_whole(tmp_path / "coco", coco)
    assert len(coco.requests(VAL)) == 2 and len(coco.requests(TRAIN)) == 1


@pytest.mark.parametrize("name", ["../evil", "/evil", "val2017/../../evil", "val2017\\..\\evil"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    coco: CocoServer, run: Callable[..., bool], tmp_path: Path, name: str
) -> None:
    content = make_zip({"val2017/1.jpg": b"1", name: b"evil"})
    coco.contents[VAL] = content
    coco.archives = (make_archive(f"zips/{VAL}", content, "val2017", "*.jpg", 1),)
    with pytest.raises(DownloadError, match="leads out of the folder"):
        run()
    assert not list(tmp_path.rglob("*evil*"))
    assert not list((tmp_path / "coco").glob("val2017/*"))


@pytest.mark.parametrize("damage", ["no zip", "an entry's bytes", "too few files"])
def test_an_archive_that_is_damaged_is_an_error(
    coco: CocoServer, run: Callable[..., bool], tmp_path: Path, damage: str
) -> None:
    content = {
        "no zip": b"<html>",
        "an entry's bytes": make_zip({"val2017/1.jpg": b"picture" * 99}).replace(b"picture", b"PICTURE", 1),
        "too few files": make_zip({"val2017/1.txt": b""}),
    }[damage]
    coco.contents[VAL] = content
    coco.archives = (make_archive(f"zips/{VAL}", content, "val2017", "*.jpg", 1),)
    with pytest.raises(DownloadError, match=r"val2017\.zip: (cannot be unpacked|has 0 files)"):
        run()
    assert not (tmp_path / "coco" / "val2017").exists()


def test_two_downloads_into_one_folder_are_refused(run: Callable[..., bool], tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    descriptor = os.open(tmp_path / "coco", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(DownloadError, match="another download into this folder is running"):
        run()
    os.close(descriptor)
    assert run()


def test_the_published_archives_have_the_layout_and_sizes_of_coco_2017() -> None:
    assert {archive.folder: archive.files for archive in COCO_2017} == {
        "annotations": 2,
        "train2017": 118_287,
        "val2017": 5_000,
    }
    assert all(archive.unpacked > 0.98 * archive.bytes and len(archive.md5) == 32 for archive in COCO_2017)
    assert readable(sum(archive.bytes for archive in COCO_2017)) == "20.4 GB"


def test_the_command_says_what_it_did(
    coco: CocoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coco_2017, "COCO_2017", coco.archives)
    monkeypatch.setenv("YAOP_TRAIN_COCO_URL", coco.url)
    command = ["train", "download", "--data", str(tmp_path)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "download train2017.zip: 100 % of" in printed
    assert printed.endswith(f"COCO 2017 is in {tmp_path}/coco\n")
    assert cli.main(command) == 0
    assert capsys.readouterr().out == f"COCO 2017 is in {tmp_path}/coco already; nothing to do\n"


def test_a_terminal_shows_bars(
    coco: CocoServer, run: Callable[..., bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    coco.script[VAL] = [Answer(503)]
    with terminal_meter() as meter:
        download(coco.archives, tmp_path / "coco", meter, DownloadOptions(url=coco.url, patience=QUICK))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(word in printed.err for word in ("unpack train2017.zip", "kB", "HTTP 503"))
    assert "\x1b[" in printed.err


def test_the_command_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "download", "--data", "gs://bucket/data"]) == 2
    assert capsys.readouterr().err.startswith("error: --data gs://bucket/data: must be a folder of this machine")
    assert cli.main(["train", "download", "--data", str(tmp_path), "--url", "ftp://x"]) == 2
    assert capsys.readouterr().err == (
        "error: --url ftp://x: expected an address that begins with http:// or https://\n"
    )


def test_a_killed_command_fetches_only_what_is_missing(coco: CocoServer, tmp_path: Path) -> None:
    save_archives(coco.archives, tmp_path / "archives.json")
    coco.script[TRAIN] = [Answer(pause=0.05)]
    coco.script[VAL] = [Answer(pause=0.05)]
    command = [sys.executable, "-m", "tests.coco_server", str(tmp_path / "archives.json")]
    command += ["train", "download", "--data", str(tmp_path), "--url", coco.url]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    parts = {name: tmp_path / "coco" / f"{name}.part" for name in (TRAIN, VAL)}
    deadline = time.monotonic() + 120
    while not all(part.exists() and part.stat().st_size > 40_000 for part in parts.values()):
        assert process.poll() is None and time.monotonic() < deadline, "the download did not start, or ended too soon"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    kept = {name: part.stat().st_size for name, part in parts.items()}
    assert all(size < len(coco.contents[name]) for name, size in kept.items())
    wait_for(lambda: all(len(coco.requests(name)) == 1 for name in parts))

    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert_whole(tmp_path / "coco", coco)
    assert len(coco.requests(ANNOTATIONS)) == 1
    for name, size in kept.items():
        again = coco.requests(name)[1:]
        assert [(request.start, request.sent) for request in again] == [(size, len(coco.contents[name]) - size)]


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the data set in the layout of the unpacked archives: DIR/annotations, DIR/train2017, DIR/val2017."""
    folder = tmp_path / "copy"
    for split in ("train2017", "val2017"):
        names = [f"{number}.jpg" for number in range(3)]
        (folder / split).mkdir(parents=True)
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"person_keypoints_{split}.json").write_bytes(annotations_of(names))
        for name in names:
            (folder / split / name).write_bytes(split.encode())
    return folder


def use_copy(copy: Path, data: Path) -> int:
    return cli.main(["train", "download", "--coco", str(copy), "--data", str(data)])


@pytest.mark.parametrize("layout", ["beside", "images"])
def test_a_copy_on_the_disk_is_used_where_it_is(
    copy: Path, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if layout == "images":
        (copy / "images").mkdir()
        for split in ("train2017", "val2017"):
            (copy / split).rename(copy / "images" / split)
    data = tmp_path / "data"
    assert use_copy(copy, data) == 0
    assert capsys.readouterr().out == f"{data}/coco now refers to {copy}\n"
    assert (data / "coco/train2017/2.jpg").read_bytes() == b"train2017"
    assert (data / "coco/val2017/0.jpg").read_bytes() == b"val2017"
    assert (data / "coco/annotations/person_keypoints_val2017.json").is_file()
    assert use_copy(copy, data) == 0
    assert capsys.readouterr().out == f"{data}/coco refers to {copy} already; nothing to do\n"


def test_another_copy_replaces_the_links(copy: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert use_copy(copy, data) == 0
    moved = copy.rename(tmp_path / "moved")
    assert use_copy(moved, data) == 0
    assert (data / "coco/train2017/2.jpg").read_bytes() == b"train2017"


def test_a_copy_that_is_the_data_folder_itself_needs_nothing(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy.rename(tmp_path / "coco")
    assert use_copy(tmp_path / "coco", tmp_path) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_copy_that_lacks_some_pictures_is_used_with_a_warning(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "train2017" / "1.jpg").unlink()
    assert use_copy(copy, tmp_path / "data") == 0
    assert capsys.readouterr().err == "warning: 1 annotated pictures of train2017 are not there\n"


def break_copy(copy: Path, fault: str) -> None:
    """Make a fault in a copy."""
    labels = copy / "annotations" / "person_keypoints_val2017.json"
    match fault:
        case "folder":
            shutil.rmtree(copy / "train2017")
        case "labels":
            labels.unlink()
        case "json":
            labels.write_bytes(labels.read_bytes()[:-5])
        case "captions":
            labels.write_text('{"images": [{"file_name": "0.jpg"}], "annotations": [], "categories": [{}]}')
        case "pictures":
            for picture in (copy / "val2017").iterdir():
                picture.unlink()
        case _:
            raise ValueError(fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("folder", "there is no train2017 or images/train2017"),
        ("labels", "there is no annotations/person_keypoints_val2017.json"),
        ("json", "person_keypoints_val2017.json: cannot be read"),
        ("captions", "person_keypoints_val2017.json: not a COCO keypoint file"),
        ("pictures", "val2017: none of the 3 pictures"),
    ],
)
def test_a_copy_with_a_fault_is_refused(
    copy: Path, fault: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_copy(copy, fault)
    assert use_copy(copy, tmp_path / "data") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "data" / "coco").exists()


def test_a_copy_does_not_replace_data_that_is_there(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "data" / "coco" / "val2017"
    mine.mkdir(parents=True)
    assert use_copy(copy, tmp_path / "data") == 2
    assert f"{mine}: is in the way" in capsys.readouterr().err
    assert list((tmp_path / "data" / "coco").iterdir()) == [mine]


def test_a_download_does_not_write_into_the_copy_that_a_link_leads_to(
    run: Callable[..., bool], coco: CocoServer, copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "val2017").symlink_to(copy / "val2017")
    with pytest.raises(DownloadError, match=r"val2017: is a link to .*copy/val2017, which lacks files"):
        run()
    assert coco.log == []


def test_linked_data_that_is_complete_is_not_fetched(
    run: Callable[..., bool], coco: CocoServer, tmp_path: Path
) -> None:
    run()
    elsewhere = (tmp_path / "coco" / "val2017").rename(tmp_path / "elsewhere")
    (tmp_path / "coco" / "val2017").symlink_to(elsewhere)
    assert not run()
