"""`yaop video`: options, targets and progress; against a scripted service, and here on the fake engine."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import Client
from service.media.probe import probe_video
from service.progress import Lines, show_progress
from shared import cli
from shared.errors import YaopError
from shared.schema import Frame
from tests.clips import cut_off, disc_neck, discs_clip, make_clip
from tests.conftest import ROOT
from tests.fake_engine import DiscEngine, fake_model
from tests.fake_videos_api import ID, PROBLEM, Script, answer, event, events, job

SERVICE = ("--url", "http://yaop.test")
RESULT = b"annotated"
POSES = b'{"index":0}\n'

Serve = Callable[..., Script]


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("video", "service.video_cli:video", cli.COMMANDS_GROUP)
    monkeypatch.setattr(cli, "_registered", lambda: {"video": entry})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    path.write_bytes(b"video" * 1000)
    return path


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Gives the command a service whose job succeeds, but for the answers given."""

    def start(**routes: list[Any]) -> Script:
        stream = events(event(job(frames_done=12), 1), event(job("succeeded", 30), 2, "done"))
        usual: dict[str, list[Any]] = {
            "POST__videos": [answer(job("queued"), 202)],
            "GET__videos_ID_events": [stream],
            "GET__videos_ID_video": [httpx.Response(200, content=RESULT)],
            "GET__videos_ID_poses": [httpx.Response(200, content=POSES)],
        }
        script = Script(**(usual | routes))

        def connect(url: str, key: str | None, **more: Any) -> Client:
            return Client(url, key, transport=script, sleep=lambda seconds: None, **more)

        monkeypatch.setattr("service.client.Client", connect)
        return script

    return start


def yaop(*arguments: str | Path) -> int:
    return cli.main(["video", *map(str, arguments)])


def query(script: Script) -> dict[str, str]:
    (upload,) = script.asked("POST", "/videos")
    return dict(upload.url.params)


def test_a_service_annotates_the_video(
    clip: Path, tmp_path: Path, serve: Serve, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    script = serve()
    out, poses = tmp_path / "new" / "out.mp4", tmp_path / "poses.jsonl"
    assert yaop(clip, out, "--json", poses, *SERVICE) == 0
    assert (out.read_bytes(), poses.read_bytes()) == (RESULT, POSES)
    assert clip.read_bytes() in script.asked("POST", "/videos")[0].content
    captured = capsysbinary.readouterr()
    assert captured.out == b""
    lines = captured.err.decode().splitlines()
    assert lines == [
        "Uploading: 100% (0.0 MB of 0.0 MB)",
        f"job {ID} at http://yaop.test/videos/{ID}",
        "Annotating: 40% (12 of 30)",
        "Annotating: 100% (30 of 30)",
        "Downloading: 100% (0.0 MB of 0.0 MB)",
    ]


def test_without_targets_the_poses_go_to_the_standard_output(
    clip: Path, serve: Serve, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    script = serve()
    assert yaop(clip, *SERVICE) == 0
    assert capsysbinary.readouterr().out == POSES
    assert script.asked("GET", "/videos/ID/video") == []


def test_options_and_the_key_are_sent_to_the_service(clip: Path, tmp_path: Path, serve: Serve) -> None:
    script = serve()
    flags = "--fps 12.5 --resolution fast --every 2 --no-track --no-smooth --min-score 0.3 --max-people 5 --no-draw"
    more = "--no-ids --boxes --background black --model other --fourcc XVID --format csv --json - --key secret"
    assert yaop(clip, tmp_path / "out.avi", *flags.split(), *more.split(), *SERVICE) == 0
    assert query(script) == {
        "fps": "12.5",
        "resolution": "256",
        "every": "2",
        "track": "false",
        "smooth": "false",
        "min_score": "0.3",
        "max_people": "5",
        "draw": "false",
        "draw_ids": "false",
        "draw_boxes": "true",
        "background": "black",
        "model": "other",
        "codec": "XVID",
    }
    assert script.asked("GET", "/videos/ID/poses")[0].url.params["format"] == "csv"
    assert {request.headers["Authorization"] for request in script.requests} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("out", "flags", "codec"),
    [
        ("out.mp4", "", None),
        ("out.WEBM", "", "vp9"),
        ("out.avi", "", "mjpeg"),
        ("out.mp4", "--codec mpeg4", "mpeg4"),
        ("out.mp4", "--fourcc mp4v", "mp4v"),
        ("out.avi", "--fourcc XVID --codec mpeg4", "XVID"),
    ],
)
def test_the_codec_goes_by_the_suffix_unless_it_is_named(
    clip: Path, tmp_path: Path, serve: Serve, out: str, flags: str, codec: str | None
) -> None:
    script = serve()
    assert yaop(clip, tmp_path / out, *flags.split(), *SERVICE) == 0
    assert query(script).get("codec") == codec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("in.mp4 out.gif", "out.gif: a video is written as one of .mp4, .webm, .avi"),
        ("in.mp4 out", "out: a video is written as one of"),
        ("in.mp4 out.mp4 --fourcc XVID", "out.mp4: XVID goes into a .avi file: name it out.avi"),
        ("in.mp4 out.mp4 --codec vp9 --fourcc XVID", "--codec vp9 and --fourcc XVID are not the same"),
        ("in.mp4 out.mp4 --codec theora", "codec 'theora' is not known; choose h264"),
        ("in.mp4 in.mp4", "have to be different files"),
        ("in.mp4 out.mp4 --json ./out.mp4", "have to be different files"),
        ("in.mp4 out.mp4 --json sub", "sub: is a folder"),
        ("in.mp4 in.mp4/out.mp4", "cannot be written to"),
        ("missing.mp4 out.mp4", "missing.mp4: no such file"),
        ("sub out.mp4", "sub: is not a file"),
        ("in.mp4 out.mp4 --fps 0", "--fps 0.0: input should be greater than or equal to 0.1"),
        ("in.mp4 out.mp4 --every 0 --min-score 2", "--every 0: input should be"),
        ("in.mp4 out.mp4 --resolution huge", "--resolution huge: must be fast, balanced, accurate"),
        ("in.mp4 out.mp4 --url 127.0.0.1", "127.0.0.1: is no address of a service"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_sent(
    clip: Path,
    tmp_path: Path,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    script = serve()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert yaop(*SERVICE, *arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert (captured.out, captured.err.count("\n"), script.requests) == ("", 1, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "sub"]


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"POST__videos": [httpx.Response(415, json=PROBLEM)]}, "Unsupported container: It is Ogg"),
        ({"POST__videos": [httpx.ConnectError("refused")]}, "No answer: http://yaop.test: refused"),
        (
            {"GET__videos_ID_events": [events(event(job("failed", 3, error=PROBLEM), 1, "done"))]},
            "Unsupported container: It is Ogg",
        ),
        (
            {"GET__videos_ID_events": [events(event(job("cancelled", 3), 1, "done"))]},
            f"in.mp4: the job {ID} was cancelled",
        ),
        ({"GET__videos_ID_poses": [httpx.Response(404, json=PROBLEM)]}, "Unsupported container: It is Ogg"),
    ],
)
def test_what_a_service_cannot_do_is_one_line(
    clip: Path, tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str], routes: Any, message: str
) -> None:
    serve(**routes)
    assert yaop(clip, "--json", tmp_path / "poses.jsonl", *SERVICE) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_interrupt_cancels_the_services_job(clip: Path, tmp_path: Path, serve: Serve) -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    script = serve(
        GET__videos_ID_events=[interrupt], GET__videos_ID=[answer(job())], DELETE__videos_ID=[answer(job("cancelled"))]
    )
    assert yaop(clip, tmp_path / "out.mp4", *SERVICE) == 130
    assert len(script.asked("DELETE", "/videos/ID")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_interrupt_in_a_download_leaves_what_was_there(clip: Path, tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "out.mp4").write_bytes(b"before")

    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    script = serve(GET__videos_ID_video=[interrupt], GET__videos_ID=[answer(job("succeeded", 30))])
    assert yaop(clip, tmp_path / "out.mp4", *SERVICE) == 130
    assert script.asked("DELETE", "/videos/ID") == []  # it is finished, and can still be fetched
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"before"


def test_warnings_are_shown(clip: Path, tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    end = job("succeeded", 30, warnings=["frame 7 is damaged"])
    serve(GET__videos_ID_events=[events(event(end, 1, "done"))])
    assert yaop(clip, tmp_path / "out.mp4", *SERVICE) == 0
    assert f"warning: {clip}: frame 7 is damaged" in capsys.readouterr().err.splitlines()


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    return discs_clip(tmp_path / "discs.mp4", frames=20)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> DiscEngine:
    """What local runs run on."""
    fake = DiscEngine()

    @contextmanager
    def open_fake(*_: object) -> Iterator[Any]:
        yield fake_model(fake).bundle, fake

    monkeypatch.setattr("service.local.run.open_model", open_fake)
    return fake


def test_here_the_video_is_drawn_and_the_poses_are_lines(
    discs: Path, tmp_path: Path, engine: DiscEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    out, poses = tmp_path / "new" / "out.mp4", tmp_path / "data" / "poses.jsonl"
    assert yaop(discs, out, "--json", poses) == 0
    frames = [Frame.model_validate_json(line) for line in poses.read_text().splitlines()]
    assert [frame.index for frame in frames] == list(range(20))
    assert {person.id for frame in frames for person in frame.people} == {1}
    assert neck(frames[10]) == pytest.approx(disc_neck(10), abs=4)
    info = probe_video(out)
    assert (info.codec, info.frames, info.width, info.height) == ("h264", 20, 160, 120)
    assert capsys.readouterr().err.splitlines()[-1] == "Annotating: 100% (20 of 20)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "discs.mp4", "new"]


def test_here_without_targets_the_poses_go_to_the_standard_output(
    discs: Path, engine: DiscEngine, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert yaop(discs, "--no-track", "--every", "5") == 0
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert len(lines) == 20
    assert {person["id"] for line in lines for person in line["people"]} == {None}
    assert len(engine.calls) < 8


def test_here_poses_come_in_the_services_layouts(discs: Path, tmp_path: Path, engine: DiscEngine) -> None:
    for layout in ("csv", "openpose", "coco"):
        assert yaop(discs, "--json", tmp_path / layout, "--format", layout) == 0
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert [row["keypoint"] for row in rows[:3]] == ["nose", "neck", "right_shoulder"]
    assert len(rows) == 60
    results = json.loads((tmp_path / "coco").read_text())
    assert [result["image_id"] for result in results] == list(range(20))
    with zipfile.ZipFile(tmp_path / "openpose") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[7] == "discs_000000000007_keypoints.json"
        assert json.loads(archive.read(archive.namelist()[7]))["people"][0]["person_id"] == [1]


def test_here_a_codec_and_a_rate_may_be_asked_for(discs: Path, tmp_path: Path, engine: DiscEngine) -> None:
    assert yaop(discs, tmp_path / "out.avi", "--fourcc", "XVID", "--fps", "15") == 0
    info = probe_video(tmp_path / "out.avi")
    assert (info.container, info.codec, info.frames, info.fps) == ("avi", "mpeg4", 10, pytest.approx(15, abs=0.1))


def test_here_a_file_that_is_no_video_is_one_line(
    clip: Path, tmp_path: Path, engine: DiscEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert yaop(clip, tmp_path / "out.mp4", "--json", tmp_path / "poses.jsonl") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {clip}: ")
    assert "MP4" in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_here_a_damaged_frame_is_a_warning(
    discs: Path, tmp_path: Path, engine: DiscEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(make_clip(tmp_path / "cut.mkv", frames=30), 0.7)
    assert yaop(tmp_path / "cut.mkv", tmp_path / "out.mp4") == 0
    assert f"warning: {tmp_path / 'cut.mkv'}: " in capsys.readouterr().err


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), YaopError("the engine is out of memory")])
def test_here_what_ends_early_leaves_what_was_there(
    discs: Path, tmp_path: Path, engine: DiscEngine, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    for name in ("out.mp4", "poses.csv"):
        (tmp_path / name).write_text("before")

    def fail_at(done: int, total: int) -> None:
        if done == 8:
            raise failure

    monkeypatch.setattr("service.progress.Lines.advance", lambda self, stage, done, total, unit: fail_at(done, total))
    code = yaop(discs, tmp_path / "out.mp4", "--json", tmp_path / "poses.csv", "--format", "csv")
    assert code == (130 if isinstance(failure, KeyboardInterrupt) else 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["discs.mp4", "out.mp4", "poses.csv"]
    assert {(tmp_path / name).read_text() for name in ("out.mp4", "poses.csv")} == {"before"}


def test_it_works_without_the_packages_of_the_server() -> None:
    script = (
        "import sys\n"
        "import service.client.annotate, service.local.video, service.progress, service.video.local\n"
        "print(sorted({'fastapi', 'starlette', 'pydantic_settings', 'prometheus_client', 'dbos'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def neck(frame: Frame) -> tuple[float, float]:
    point = frame.people[0].keypoints["neck"]
    assert point is not None
    return point.x, point.y


def test_lines_tell_of_each_tenth_and_of_slow_work() -> None:
    stream, now = io.StringIO(), [0.0]
    lines = Lines(stream, clock=lambda: now[0])
    for done in range(1001):
        lines.advance("Working", done, 1000, "frames")
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == [f"{tenth}0%" for tenth in range(1, 11)]
    stream.truncate(0)
    for done in range(50):
        now[0] += 3
        lines.advance("Slow", done, 1000, "frames")
    assert [line.split("(")[1] for line in stream.getvalue().splitlines()] == [
        "10 of 1000)", "20 of 1000)", "30 of 1000)", "40 of 1000)",
    ]  # fmt: skip


def test_a_terminal_gets_a_bar() -> None:
    master, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream, show_progress(stream) as display:
        display.advance("Uploading", 500_000, 2_000_000, "bytes")
        display.note("job [7] at http://yaop.test")
        display.advance("Annotating", 30, 60, "frames")
    shown = read_all(master)
    assert "0.5 MB of 2.0 MB" in shown
    assert "job [7] at http://yaop.test" in shown
    assert "30 of 60" in shown
    assert "━" in shown


def read_all(master: int) -> str:
    """What was written to a terminal that is closed now."""
    data = b""
    with suppress(OSError), os.fdopen(master, "rb", buffering=0) as stream:
        while piece := stream.read(4096):
            data += piece
    return data.decode()


def test_the_help_names_the_codecs(capsys: pytest.CaptureFixture[str]) -> None:
    assert yaop("--help") == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(word in text for word in ("h264 (.mp4)", "vp9 (.webm)", "--fourcc", "--url", "--json", "--no-track"))
