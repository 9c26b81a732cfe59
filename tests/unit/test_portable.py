"""The product runs where there is no more than Windows has, and in containers with a share of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest

from shared.cores import allowed_cores, limited_cores, usable_cores
from shared.locks import HeldError, hold
from tests import clips, photos, video_jobs
from tests.server_process import running

ROOT = Path(__file__).resolve().parents[2]
WINDOWS = (sys.executable, "-m", "tests.without_posix")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that plays Windows here")


def run(*command: str | Path, seconds: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


# ---- cores


def fake_system(folder: Path, groups: str, mounts: str) -> Path:
    """What Linux tells a process: its groups, and where hierarchies of groups are mounted."""
    process = folder / "self"
    process.mkdir()
    (process / "cgroup").write_text(groups, "utf-8")
    (process / "mountinfo").write_text(textwrap.dedent(mounts).format(root=folder), "utf-8")
    return process


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", "utf-8")


@pytest.fixture
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with so many processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


V2 = "31 23 0:28 / {root}/fs rw - cgroup2 cgroup2 rw\n"
V1 = """\
    31 23 0:28 / {root}/fs rw - tmpfs tmpfs rw
    32 31 0:29 /docker/1a2b {root}/fs/cpu,cpuacct ro shared:9 - cgroup cgroup rw,cpu,cpuacct
    33 31 0:30 /docker/1a2b {root}/fs/cpuset ro shared:9 - cgroup cgroup rw,cpuset
    """


@pytest.mark.usefixtures("sixty_four")
@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1), ("max 100000", 64), ("9900000 100000", 64)],
)
def test_a_share_of_the_processors_is_rounded_up(quota: str, cores: int, tmp_path: Path) -> None:
    process = fake_system(tmp_path, "0::/\n", V2)
    write(tmp_path / "fs" / "cpu.max", quota)

    assert usable_cores(process) == cores
    assert limited_cores(process) == (cores if cores < 64 else 0)


@pytest.mark.usefixtures("sixty_four")
def test_the_groups_above_a_processs_own_count_too(tmp_path: Path) -> None:
    process = fake_system(tmp_path, "0::/kubepods/pod7/box\n", V2)
    write(tmp_path / "fs" / "kubepods" / "pod7" / "cpu.max", "300000 100000")
    write(tmp_path / "fs" / "kubepods" / "pod7" / "box" / "cpu.max", "max 100000")
    write(tmp_path / "fs" / "kubepods" / "pod7" / "other" / "cpu.max", "100000 100000")

    assert usable_cores(process) == 3


@pytest.mark.usefixtures("sixty_four")
def test_a_container_without_a_name_space_of_groups_sees_its_own_at_the_top(tmp_path: Path) -> None:
    process = fake_system(tmp_path, "4:cpuacct,cpu:/docker/1a2b\n5:cpuset:/docker/1a2b\n0::/\n", V1)
    write(tmp_path / "fs" / "cpu,cpuacct" / "cpu.cfs_quota_us", "250000")
    write(tmp_path / "fs" / "cpu,cpuacct" / "cpu.cfs_period_us", "50000")

    assert usable_cores(process) == 5


@pytest.mark.usefixtures("sixty_four")
def test_without_a_limit_the_affinity_counts(tmp_path: Path) -> None:
    process = fake_system(tmp_path, "4:cpu,cpuacct:/docker/1a2b\n0::/\n", V1)
    write(tmp_path / "fs" / "cpu,cpuacct" / "cpu.cfs_quota_us", "-1")
    write(tmp_path / "fs" / "cpu,cpuacct" / "cpu.cfs_period_us", "100000")

    assert usable_cores(process) == usable_cores(tmp_path / "nothing") == 64


@pytest.mark.usefixtures("sixty_four")
@pytest.mark.parametrize("text", ["", "max", "max max", "x y", "100000 0", "\0"])
def test_what_cannot_be_read_is_no_limit(text: str, tmp_path: Path) -> None:
    process = fake_system(tmp_path, "0::/\nnonsense\n", V2 + "nonsense\n - \n")
    write(tmp_path / "fs" / "cpu.max", text)

    assert usable_cores(process) == 64


@pytest.fixture
def group_of_half_a_core() -> Iterator[Path]:
    """A real control group whose processes together get half a processor's time."""
    name = f"yaop-test-{uuid.uuid4().hex[:8]}"
    try:
        if Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() or Path("/sys/fs/cgroup/cpu/tasks").exists():
            group = Path("/sys/fs/cgroup/cpu", name)
            group.mkdir()
            (group / "cpu.cfs_quota_us").write_text("50000", "ascii")
        else:
            group = Path("/sys/fs/cgroup", name)
            group.mkdir()
            (group / "cpu.max").write_text("50000 100000", "ascii")
    except OSError as error:
        with suppress(OSError):
            Path("/sys/fs/cgroup", name).rmdir()
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        # Some systems let groups be made and nobody move into them.
        joined = run("sh", "-c", f"echo $$ > {group}/cgroup.procs")
        if joined.returncode != 0:
            pytest.skip(f"no control group can be joined here: {joined.stderr.strip()}")
        yield group
    finally:
        group.rmdir()


def test_a_process_in_a_real_group_knows_its_share(group_of_half_a_core: Path) -> None:
    script = "from service.settings import Settings; from shared.cores import *\n"
    script += "print(usable_cores(), allowed_cores(), Settings().workers)"
    into = f"echo $$ > {group_of_half_a_core}/cgroup.procs && exec {sys.executable} -c '{script}'"

    done = run("sh", "-c", into)

    assert done.stdout.split() == ["1", str(allowed_cores()), "1"], done.stderr


# ---- locks


def test_a_folder_is_held_once(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(HeldError), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


HOLD = """
import sys
from pathlib import Path
from shared.locks import hold
with hold(Path({folder!r})):
    print("held", flush=True)
    sys.stdin.read()
"""


@only_linux
def test_without_posix_a_folder_is_held_against_other_processes_until_the_holder_is_killed(tmp_path: Path) -> None:
    (tmp_path / "holder.py").write_text(HOLD.format(folder=str(tmp_path)), "utf-8")
    command, paths = [*WINDOWS, "holder"], {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | paths, text=True, **pipes) as first:
        assert first.stdout and first.stdout.readline() == "held\n"

        refused = run(*command, **paths)
        first.kill()
    granted = run(*command, **paths)

    assert "HeldError" in refused.stderr
    assert granted.stdout == "held\n"


# ---- the commands


@only_linux
def test_without_posix_yaop_pose_finds_people(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.jpg"), photos.astronaut()[..., ::-1])

    done = run(*WINDOWS, "shared.cli", "pose", tmp_path / "photo.jpg", "--out", tmp_path / "drawn.jpg", "--json", "-")

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["people"]) == 1
    assert cv2.imread(str(tmp_path / "drawn.jpg")) is not None


@pytest.mark.slow
@only_linux
def test_without_posix_a_service_takes_pictures_and_videos_and_removes_them(tmp_path: Path) -> None:
    clip = clips.people_clip(tmp_path / "people.mp4", seconds=0.4, size=(320, 180), audio="aac")
    picture = cv2.imencode(".jpg", photos.astronaut()[..., ::-1])[1].tobytes()
    data = tmp_path / "data"

    with running("-m", "tests.without_posix", "shared.cli", "serve", data_dir=str(data)) as server:
        frame = httpx.post(f"{server.url}/pose", files={"image": picture}, timeout=60).raise_for_status().json()
        name = video_jobs.upload(server.url, clip)
        (job,) = video_jobs.wait_for(server.url, [name])
        frames = video_jobs.poses(server.url, name)
        result = video_jobs.save_video(server.url, name, tmp_path / "result.mp4")
        removed = httpx.delete(f"{server.url}/videos/{name}", timeout=60)

    assert len(frame["people"]) == 1
    assert (job["state"], len(frames)) == ("succeeded", 12), job
    assert any(frame.people for frame in frames)
    assert len(clips.packets(result)) == 12
    assert removed.status_code < 300
    assert not (data / "artifacts" / name).exists()
    assert "Traceback" not in "".join(server.errors)


@pytest.mark.slow
@only_linux
def test_without_posix_yaop_train_doctor_finds_nothing_amiss(tmp_path: Path) -> None:
    done = run(*WINDOWS, "shared.cli", "train", "doctor", "--data", tmp_path / "data", "--runs", tmp_path / "runs")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "FAIL" not in done.stdout and "unknown" not in done.stdout


# ---- children that ask too much

ASK = """
import sys, textwrap
from service.media.child import ask
from service.media.video_errors import VideoError
whole = textwrap.dedent({script!r}) + "\\nfrom service.media import child_main\\nchild_main.run(work)\\n"
hand_over = "from tests.without_posix import become_windows; become_windows()\\n"
try:
    ask([sys.executable, "-P", "-c", hand_over + whole], {{"limits": {limits!r}}}, {seconds})
except VideoError as error:
    print(error.reason)
"""
EATER = "import time; x = b'x' * (1 << 29); time.sleep(99)"
GREEDY: dict[str, tuple[str, str, dict[str, float], float]] = {
    "eats memory": (
        "import time\ndef work(r, o):\n x = []\n while True: x.append(b'x' * (1 << 24)); time.sleep(0.01)",
        "too-much-memory",
        {"memory_bytes": 1 << 28, "cpu_seconds": 60},
        60,
    ),
    "computes for ever": (
        "def work(r, o):\n while True: pass",
        "too-slow",
        {"memory_bytes": 1 << 30, "cpu_seconds": 2},
        60,
    ),
    "hangs": (
        "import time\ndef work(r, o): time.sleep(999)",
        "too-slow",
        {"memory_bytes": 1 << 30, "cpu_seconds": 60},
        3,
    ),
    "has another process eat memory": (
        f"import subprocess, sys\ndef work(r, o): subprocess.run([sys.executable, '-c', {EATER!r}])",
        "too-much-memory",
        {"memory_bytes": 1 << 28, "cpu_seconds": 60},
        60,
    ),
}


@only_linux
@pytest.mark.parametrize("name", GREEDY)
def test_without_posix_a_child_that_asks_too_much_is_ended(name: str, tmp_path: Path) -> None:
    script, reason, limits, seconds = GREEDY[name]
    (tmp_path / "asking.py").write_text(ASK.format(script=script, limits=limits, seconds=seconds), "utf-8")
    begin = time.monotonic()

    done = run(*WINDOWS, "asking", PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))

    assert done.stdout.split() == [reason], done.stderr
    assert time.monotonic() - begin < 40


# ---- the source


@pytest.mark.slow
def test_types_hold_on_windows() -> None:
    """What the standard library lacks elsewhere it lacks on Windows too, so macOS needs no run of its own."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--pythonplatform", "Windows"]

    done = run(*command, "service", "shared", "trainer", seconds=290)

    assert done.returncode == 0, done.stdout


def test_texts_are_read_and_written_in_an_encoding_that_is_named() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514", "--quiet"]

    done = run(*command, "service", "shared", "trainer")

    assert done.returncode == 0, done.stdout
