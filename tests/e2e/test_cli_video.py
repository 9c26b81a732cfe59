"""`yaop video` and the Python client as processes against a real server, which dies and comes back; and without one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client, ClientError
from service.jobs.options import VideoOptions
from service.media.probe import probe_video
from shared import cli
from shared.bundle import Bundle
from shared.schema import Frame
from tests.clips import discs_clip
from tests.server_process import FAKE, ROOT, Server, running, started

FRAMES = 130
SLOWLY = (*FAKE, "0.02")  # seconds a frame: the job takes three seconds or so


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than two chunks."""
    return discs_clip(tmp_path_factory.mktemp("clip") / "discs.mp4", frames=FRAMES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A slow one that takes small videos."""
    data = str(tmp_path_factory.mktemp("service") / "data")
    with running(*SLOWLY, data_dir=data, max_video_bytes="1MB") as started_server:
        yield started_server


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Until a line on its standard error holds this."""
    assert process.stderr
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}: {lines}")


def press_ctrl_c(process: subprocess.Popen[str]) -> str:
    """What a terminal does. Gives what is on standard error from then on."""
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return errors


def indexes(poses: Path) -> list[int]:
    return [Frame.model_validate_json(line).index for line in poses.read_text().splitlines()]


@pytest.mark.slow
def test_a_servers_death_is_only_a_pause(clip: Path, tmp_path: Path) -> None:
    out, poses, data = tmp_path / "out.webm", tmp_path / "poses.jsonl", str(tmp_path / "data")
    with (
        running(*SLOWLY, data_dir=data) as server,
        started("video", clip, out, "--json", poses, "--url", server.url) as command,
    ):
        read_until(command, "Annotating: ")
        server.stop(signal.SIGKILL)
        read_until(command, "trying again")
        with running(*SLOWLY, data_dir=data, port=str(server.port)):
            _, errors = command.communicate(timeout=120)
    assert (command.returncode, "Annotating: 100%" in errors) == (0, True), errors
    assert probe_video(out).frames == FRAMES
    assert indexes(poses) == list(range(FRAMES))


def test_an_interrupt_cancels_the_job_on_the_server(clip: Path, tmp_path: Path, server: Server) -> None:
    with started("video", clip, tmp_path / "out.mp4", "--url", server.url) as command:
        read_until(command, "Annotating: ")
        assert press_ctrl_c(command) == ""
    assert command.returncode == 130
    with Client(server.url) as client:
        (job,) = client.jobs(limit=1)
        assert client.wait(job.id).state == "cancelled"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_here_leaves_nothing_behind(
    clip: Path, tmp_path: Path, shipped_bundle: Bundle, number: int
) -> None:
    assert shipped_bundle.litert is not None
    with started(
        "video", clip, tmp_path / "out.mp4", "--json", tmp_path / "poses.jsonl", "--resolution", "512"
    ) as command:
        read_until(command, "Annotating: 10%")
        if number == signal.SIGINT:
            errors = press_ctrl_c(command)
        else:
            command.send_signal(number)
            _, errors = command.communicate(timeout=60)
    assert command.returncode == 128 + number
    assert all(line.startswith("Annotating: ") for line in errors.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_early_does_not_stop_the_video(clip: Path, tmp_path: Path, shipped_bundle: Bundle) -> None:
    assert shipped_bundle.litert is not None
    with started("video", clip, tmp_path / "out.avi", "--json", "-", "--resolution", "fast", "--every", "5") as command:
        assert command.stdout
        assert Frame.model_validate_json(command.stdout.readline()).index == 0
        command.stdout.close()
        assert command.stderr
        errors = command.stderr.read()
        assert command.wait(60) == 0, errors
    assert "Traceback" not in errors
    assert probe_video(tmp_path / "out.avi").frames == FRAMES


def test_a_job_through_the_client(clip: Path, tmp_path: Path, server: Server) -> None:
    with Client(server.url) as client:
        options = VideoOptions.model_validate({"every": 5, "codec": "mjpeg"})
        job = client.upload_video(clip, options, "key")
        assert (job.filename, job.frames_total, job.options) == ("discs.mp4", FRAMES, options)
        assert client.upload_video(clip, options, "key").id == job.id
        seen: list[int] = []
        done = client.wait(job.id, lambda now: seen.append(now.frames_done))
        assert (done.state, seen[-1], seen) == ("succeeded", FRAMES, sorted(seen))
        client.download_video(job.id, tmp_path / "out.avi")
        assert probe_video(tmp_path / "out.avi").frames == FRAMES
        for format_ in ("native", "csv", "openpose", "coco"):
            client.download_poses(job.id, tmp_path / format_, format_)
            assert (tmp_path / format_).stat().st_size > 1000
        assert next(client.jobs()).id == job.id
        client.delete(job.id)
        assert job.id not in [one.id for one in client.jobs()]
        with pytest.raises(ClientError, match="Video not found"):
            client.wait(job.id)


def test_the_python_example_of_the_documentation_runs(tmp_path: Path, server: Server) -> None:
    discs_clip(tmp_path / "clip.mp4", frames=12)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "videos.md").read_text(), re.DOTALL)
    code = example.replace("http://127.0.0.1:8000", server.url)
    assert code != example
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert probe_video(tmp_path / "annotated.mp4").frames == 12
    assert (tmp_path / "poses.csv").read_text().startswith("frame,timestamp,person,id,")


def test_a_job_under_way_is_deleted(clip: Path, server: Server) -> None:
    with Client(server.url) as client:
        job = client.upload_video(clip)
        client.delete(job.id)
        assert job.id not in [one.id for one in client.jobs()]


def test_a_refusal_reaches_a_client_that_is_still_sending(tmp_path: Path, server: Server) -> None:
    big = tmp_path / "big.mp4"
    with big.open("wb") as file:
        file.truncate(300_000_000)
    with Client(server.url, patience=0) as client, pytest.raises(ClientError, match="the limit of 1 MB") as caught:
        client.upload_video(big)
    assert caught.value.status == 413


@pytest.mark.parametrize("content", [b"", b"no video", b"\x1a\x45\xdf\xa3 and nothing else"])
def test_what_is_no_video_is_told_alike_here_and_there(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(content)
    for there in ((), ("--url", server.url)):
        command = ["video", source, tmp_path / "out.mp4", "--json", tmp_path / "poses.jsonl", *there]
        assert cli.main([str(word) for word in command]) == 2
        lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith(("INFO", "Uploading"))]
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
    assert list(tmp_path.iterdir()) == [source]
