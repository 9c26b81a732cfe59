"""`yaop stream` here, on the fake engine: sources, results, figures, and what is wrong with either."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.streams.messages import StreamResult
from shared import cli
from shared.images import encode_image
from shared.inference.engine import PoseArrays
from shared.schema import Frame
from tests.clips import disc_neck, discs_clip
from tests.conftest import ROOT
from tests.fake_engine import DiscEngine, discs, fake_model, person_at
from tests.mjpeg_server import mjpeg_camera
from tests.rtsp_server import rtsp_camera

SIZE = (320, 240)


class SlowEngine(DiscEngine):
    """Takes its time, and does something first."""

    seconds = 0.0
    before: Callable[[], object] = staticmethod(lambda: None)

    def pose(self, images: np.ndarray[Any, Any]) -> PoseArrays:
        self.before()
        time.sleep(self.seconds)
        return super().pose(images)


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("stream", "service.stream_cli:stream", cli.COMMANDS_GROUP)
    monkeypatch.setattr(cli, "_registered", lambda: {"stream": entry})


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> SlowEngine:
    """What local runs run on."""
    fake = SlowEngine()

    @contextmanager
    def open_fake(*_: object) -> Iterator[Any]:
        yield fake_model(fake).bundle, fake

    monkeypatch.setattr("service.local.run.open_model", open_fake)
    return fake


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second."""
    return discs_clip(tmp_path_factory.mktemp("clip") / "discs.mp4", frames=30, size=SIZE, b_frames=0)


def yaop(*arguments: str | Path) -> int:
    return cli.main(["stream", *map(str, arguments)])


def frames_in(text: str | bytes) -> list[Frame]:
    return [Frame.model_validate_json(line) for line in text.splitlines()]


def neck(frame: Frame) -> tuple[float, float]:
    point = frame.people[0].keypoints["neck"]
    assert point is not None
    return point.x, point.y


def require_truth(frames: list[Frame]) -> None:
    """Everybody is where the clip shows them."""
    assert {(frame.width, frame.height) for frame in frames} == {SIZE}
    for frame in frames:
        assert neck(frame) == pytest.approx(disc_neck(frame.index, SIZE), abs=4), frame.index
        assert frame.timestamp == pytest.approx(frame.index / 30, abs=1e-6)


def test_a_clip_is_played_and_its_results_are_lines(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    before = set(threading.enumerate())
    start = time.monotonic()
    assert yaop("--file", clip, "--json", log) == 0
    assert time.monotonic() - start > 29 / 30
    frames = frames_in(log.read_text())
    indexes = [frame.index for frame in frames]
    assert indexes == sorted(set(indexes))
    assert len(indexes) > 5
    assert indexes[-1] == 29  # the last picture is looked at, whatever was dropped before
    require_truth(frames)
    assert {person.id for frame in frames for person in frame.people} == {1}
    assert set(frames[0].timing_ms) >= {"decode", "network", "assembly", "track", "total"}
    assert StreamResult.model_validate_json(log.read_text().splitlines()[0]).index == indexes[0]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{len(frames)} results in ")
    assert f"{30 - len(frames)} dropped, 1 person seen" in captured.err
    assert captured.err.count("\n") == 1
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("yaop")]


def test_without_a_target_results_go_to_a_pipe(clip: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert yaop("--file", clip) == 0
    assert len(frames_in(capsysbinary.readouterr().out)) > 5


def test_without_a_target_a_terminal_shows_figures_only(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert yaop("--file", clip) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    line, summary = captured.err.split("\r\x1b[2K")[-2:]
    assert " fps, latency " in captured.err
    assert summary.startswith(line) or " results in " in summary


def test_options_reach_the_engine_and_the_tracker(
    clip: Path, engine: SlowEngine, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert yaop("--file", clip, "--no-track", "--resolution", "512", "--max-people", "1") == 0
    frames = frames_in(capsysbinary.readouterr().out)
    assert {person.id for frame in frames for person in frame.people} == {None}
    assert {call[1:] for call in engine.calls} == {(512, 512, 3)}
    assert engine.warmed == [(512, 512)]


def test_a_slow_engine_drops_pictures_and_delays_none(
    clip: Path, engine: SlowEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.seconds = 0.15
    start = time.monotonic()
    assert yaop("--file", clip) == 0
    assert time.monotonic() - start < 5  # one after the other would be as long by itself
    captured = capsys.readouterr()
    frames = frames_in(captured.out)
    assert len(frames) < 10
    require_truth(frames)
    assert f"{30 - len(frames)} dropped" in captured.err


def test_a_run_ends_after_the_seconds_it_is_given(clip: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert yaop("--file", clip, "--seconds", "0.4") == 0
    assert frames_in(capsysbinary.readouterr().out)[-1].index < 29


def test_a_camera_is_the_default_and_its_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    from tests.unit.test_live_camera import PICTURE, Device

    monkeypatch.setattr("service.live.camera._DEVICES", tmp_path)
    (tmp_path / "video0").symlink_to("/dev/null")
    device = Device(PICTURE, PICTURE, None)
    monkeypatch.setattr(cv2, "VideoCapture", device)
    assert yaop() == 2
    captured = capsys.readouterr()
    (frame,) = frames_in(captured.out)
    assert (frame.width, frame.height) == (64, 48)
    assert neck(frame) == pytest.approx((32, 30), abs=2)
    summary, error = captured.err.splitlines()
    assert summary.startswith("1 results in ")
    assert error == "error: camera 0 gives no more pictures; was it unplugged?"
    assert device.released == 1


def test_a_failing_engine_is_one_line(clip: Path, engine: SlowEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.failure = RuntimeError("out of memory")
    assert yaop("--file", clip) == 2
    assert capsys.readouterr().err == "error: the engine failed: out of memory\n"


def test_a_log_keeps_what_was_there_when_the_engine_fails(
    clip: Path, tmp_path: Path, engine: SlowEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_later() -> None:
        if len(engine.calls) == 3:
            engine.failure = RuntimeError("out of memory")

    engine.before = fail_later
    log = tmp_path / "log.jsonl"
    assert yaop("--file", clip, "--json", log) == 2
    assert len(frames_in(log.read_text())) == 3
    summary, error = capsys.readouterr().err.splitlines()
    assert summary.startswith("3 results in ")
    assert error.startswith("error: the engine failed")


@pytest.mark.parametrize("allowed", ["flag", "environment"])
def test_a_network_camera_is_looked_at_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], allowed: str
) -> None:
    pictures = [encode_image(discs(*SIZE, person_at(*disc_neck(index, SIZE), 80), 20), "jpeg") for index in range(30)]
    flags = ["--allow-network"] if allowed == "flag" else []
    if not flags:
        monkeypatch.setenv("YAOP_ALLOW_NETWORK", "1")
    with mjpeg_camera(pictures) as server:
        address = f"{server.url}/stream".replace("//", "//me:secret@")
        assert yaop("--file", address, "--seconds", "1.5", *flags) == 0
    captured = capsys.readouterr()
    frames = frames_in(captured.out)
    assert len(frames) > 3
    for frame in frames:
        assert neck(frame) == pytest.approx(disc_neck(frame.index % 30, SIZE), abs=5)
    assert "secret" not in captured.err


def test_an_rtsp_camera_is_looked_at(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rtsp_camera(clip) as server:
        assert yaop("--file", server.url, "--allow-network", "--seconds", "2") == 0
    frames = frames_in(capsys.readouterr().out)
    assert len(frames) > 3
    first = [frame for frame in frames if frame.index < 30]
    for frame in first:
        assert neck(frame) == pytest.approx(disc_neck(frame.index, SIZE), abs=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--file missing.mp4", "missing.mp4: no such file"),
        ("--file .", ".: is not a file"),
        ("--file noise.mp4", "noise.mp4: "),
        ("--file playlist.m3u8", "playlist.m3u8: "),
        ("--camera 77", "there is no camera 77; "),
        ("--camera rtsp://127.0.0.1/x", "there is no camera rtsp:"),
        ("--camera noise.mp4", "noise.mp4 is no camera; a video is played with --file"),
        ("--camera 0 --file noise.mp4", "--camera and --file are two sources; give one of them"),
        ("--file rtsp://me:secret@127.0.0.1:1/x", "addresses are opened only with --allow-network"),
        ("--file http://me:secret@127.0.0.1:1/x", "addresses are opened only with --allow-network"),
        ("--file rtsp://me:secret@127.0.0.1:1/x --allow-network", "rtsp://127.0.0.1:1: connection refused"),
        ("--file file:///etc/passwd --allow-network", "file:// addresses are not opened"),
        ("--file clip.mp4 --resolution huge", "--resolution huge: must be fast, balanced, accurate"),
        ("--file clip.mp4 --min-score 2", "--min-score 2.0: input should be less than or equal to 1"),
        ("--file clip.mp4 --max-people 0", "--max-people 0: input should be greater"),
        ("--file clip.mp4 --credits 99", "--credits 99: input should be less"),
        ("--file clip.mp4 --seconds 0", "--seconds 0: must be a number above 0"),
        ("--file clip.mp4 --seconds nan", "--seconds nan: must be a number above 0"),
        ("--file clip.mp4 --json clip.mp4", "the video and the results have to be different files"),
        ("--file clip.mp4 --json sub", "sub: is a folder; name a file"),
        ("--file clip.mp4 --json clip.mp4/log", "cannot be written to"),
        ("--file clip.mp4 --url 127.0.0.1", "127.0.0.1: is no address of a service"),
        ("--file clip.mp4 --url ws://127.0.0.1:1/stream", "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 1000)
    (tmp_path / "playlist.m3u8").write_text("#EXTM3U\n/etc/passwd\n")
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    assert yaop(*arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "secret" not in captured.err
    assert sorted(tmp_path.iterdir()) == before


def test_it_works_without_the_packages_of_the_server() -> None:
    script = (
        "import sys\n"
        "import service.stream_cli, service.live.run, service.live.remote, service.live.local, service.live.network\n"
        "import service.live.clip, service.live.camera, service.live.recorder, service.live.network_child\n"
        "import service.live.clip_child\n"
        "print(sorted({'fastapi', 'starlette', 'pydantic_settings', 'prometheus_client', 'dbos', 'msgpack'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_its_help_waits_for_nothing_heavy() -> None:
    script = "import sys, service.stream_cli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import json; {script}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"av", "scipy", "websockets", "httpx", "ai_edge_litert"} & set(json.loads(done.stdout)) == set()
