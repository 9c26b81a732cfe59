"""`yaop stream` as a process: against real servers, which die and come back, and without one."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.schema import Frame
from tests.clips import disc_neck, discs_clip, people_clip
from tests.server_process import FAKE, Server, run_yaop, running, started

SIZE = (1280, 720)  # more than is sent
FPS = 15


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of one person: longer than a restart takes."""
    return discs_clip(tmp_path_factory.mktemp("clip") / "discs.mp4", frames=150, size=SIZE, fps=FPS)


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of the same."""
    return discs_clip(tmp_path_factory.mktemp("clip") / "discs.mp4", frames=45, size=SIZE, fps=FPS)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(*FAKE) as started_server:
        yield started_server


def frames_in(log: Path) -> list[Frame]:
    return [Frame.model_validate_json(line) for line in log.read_text().splitlines()]


def wait_for_frames(log: Path, count: int) -> None:
    """Until the log holds so many results."""
    ends = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < ends, "no results"
        time.sleep(0.02)


def require_truth(frames: list[Frame]) -> None:
    """One person, where the clip shows it, in the clip's own pixels."""
    for frame in frames:
        assert (frame.width, frame.height) == SIZE
        assert frame.timestamp == pytest.approx(frame.index / FPS, abs=1e-6)
        (person,) = frame.people
        neck = person.keypoints["neck"]
        assert neck
        assert (neck.x, neck.y) == pytest.approx(disc_neck(frame.index, SIZE), abs=12), frame.index


def children_of(pid: int) -> list[int]:
    return [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]


def test_a_service_looks_at_a_clip(short_clip: Path, tmp_path: Path, server: Server) -> None:
    log, address = tmp_path / "log.jsonl", server.url.replace("http", "ws") + "/stream"
    start = time.monotonic()
    done = run_yaop(
        "stream", "--file", short_clip, "--url", address, "--json", log, "--resolution", "fast", "--no-smooth"
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start > 44 / FPS
    frames = frames_in(log)
    assert len(frames) > 10
    assert frames[-1].index == 44
    require_truth(frames)
    assert {person.id for frame in frames for person in frame.people} == {1}
    summary = done.stderr.decode().splitlines()[-1]
    found = re.fullmatch(
        r"(\d+) results in ([\d.]+) s \([\d.]+ fps\), latency (\d+) ms \(95 %: (\d+) ms\), (\d+) dropped, "
        "1 person seen",
        summary,
    )
    assert found, summary
    assert int(found[1]) == len(frames)
    assert int(found[5]) == 45 - len(frames)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_that_restarts_is_only_a_pause(clip: Path, tmp_path: Path, number: int) -> None:
    log = tmp_path / "log.jsonl"
    with (
        running(*FAKE) as first,
        started("stream", "--file", clip, "--url", first.url, "--json", log, "--no-smooth") as command,
    ):
        wait_for_frames(log, 10)
        first.stop(number)
        before = len(frames_in(log))
        with running(*FAKE, port=str(first.port)):
            wait_for_frames(log, before + 10)
            command.terminate()
            _, errors = command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGTERM, errors
    assert "trying again in" in errors
    assert "Traceback" not in errors
    frames = frames_in(log)
    indexes = [frame.index for frame in frames]
    assert indexes == sorted(set(indexes))
    require_truth(frames)
    ids = [person.id for frame in frames for person in frame.people]
    assert ids == [1] * before + [2] * (len(ids) - before)  # nobody gets the id that another had


def test_here_a_clip_gives_what_the_real_network_sees(tmp_path: Path, shipped_bundle: Bundle) -> None:
    assert shipped_bundle.litert is not None
    clip, log = people_clip(tmp_path / "people.mp4", 2.0), tmp_path / "log.jsonl"
    done = run_yaop("stream", "--file", clip, "--json", log, "--resolution", "fast")
    assert done.returncode == 0, done.stderr
    frames = frames_in(log)
    assert len(frames) > 5
    assert len(frames[-1].people) == 2
    assert frames[-1].model.name == "mobilenet_fpn"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("there", [True, False])
def test_an_interrupt_ends_it_in_order(
    clip: Path, tmp_path: Path, server: Server, shipped_bundle: Bundle, number: int, there: bool
) -> None:
    assert shipped_bundle.litert is not None
    log = tmp_path / "log.jsonl"
    where = ("--url", server.url) if there else ()
    with started("stream", "--file", clip, "--json", log, "--resolution", "fast", *where) as command:
        wait_for_frames(log, 3)
        (decoder,) = children_of(command.pid)
        os.killpg(command.pid, number)
        _, errors = command.communicate(timeout=30)
    assert command.returncode == 128 + number
    *_, summary = errors.splitlines()
    assert re.match(r"\d+ results in ", summary)
    assert "Traceback" not in errors
    assert frames_in(log)[-1].index < 149
    assert log.read_bytes().endswith(b"\n")
    assert not Path(f"/proc/{decoder}").exists()


def test_a_reader_that_leaves_ends_it_in_order(clip: Path, server: Server) -> None:
    with started("stream", "--file", clip, "--url", server.url) as command:
        assert command.stdout
        assert command.stderr
        Frame.model_validate_json(command.stdout.readline())
        command.stdout.close()
        errors = command.stderr.read()
        assert command.wait(30) == 0
    assert "Traceback" not in errors


def test_an_interrupt_while_the_service_is_away_ends_it_in_order(clip: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with running(*FAKE) as first, started("stream", "--file", clip, "--url", first.url, "--json", log) as command:
        wait_for_frames(log, 3)
        first.stop(signal.SIGKILL)
        assert command.stderr
        assert any("trying again in" in line for line in command.stderr)
        os.killpg(command.pid, signal.SIGINT)
        _, errors = command.communicate(timeout=30)
    assert command.returncode == 130
    assert " results in " in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "{url}/nowhere"], "error: "),
        (["--url", "{url}", "--model", "unknown"], "unknown"),
        (["--url", "http://127.0.0.1:{free}"], "127.0.0.1:{free}"),
    ],
)
def test_a_service_that_cannot_look_is_one_line(clip: Path, server: Server, arguments: list[str], message: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        names = {"url": server.url, "free": str(unused.getsockname()[1])}
        given = [argument.format(**names) for argument in arguments]
        done = run_yaop("stream", "--file", clip, *given, seconds=60)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert message.format(**names) in lines[0]


def test_without_a_camera_it_says_so() -> None:
    if list(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    done = run_yaop("stream")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: there is no camera 0; no camera was found on this machine\n"
