"""Video jobs on servers and workers that get killed: what the tests and the soak share."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import httpx

from shared.schema import Frame
from tests import clips
from tests.server_process import FAKE, FAKE_WORKER, Server

SECONDS = 120


def upload(url: str, path: Path, **options: Any) -> str:
    """Send a video; gives the id of its job, which was acknowledged."""
    params = {"resolution": "fast", **options}
    with path.open("rb") as file:
        answer = httpx.post(f"{url}/videos", files={"video": file}, params=params, timeout=60)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def job(url: str, job_id: str) -> dict[str, Any]:
    """What the service says of a job."""
    answer = httpx.get(f"{url}/videos/{job_id}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for(url: str, job_ids: Iterable[str], seconds: float = SECONDS, pause: float = 0.1) -> list[dict[str, Any]]:
    """The jobs, all finished; looked at again after each pause."""
    end = time.monotonic() + seconds
    while True:
        jobs = [job(url, job_id) for job_id in job_ids]
        if all(each["state"] in ("succeeded", "failed", "cancelled") for each in jobs):
            return jobs
        assert time.monotonic() < end, [(each["state"], each["frames_done"]) for each in jobs]
        time.sleep(pause)


def poses(url: str, job_id: str) -> list[Frame]:
    """The people of all frames."""
    answer = httpx.get(f"{url}/videos/{job_id}/poses", timeout=60)
    assert answer.status_code == 200, answer.text
    return [Frame.model_validate_json(line) for line in answer.text.splitlines()]


def save_video(url: str, job_id: str, path: Path) -> Path:
    """The annotated file."""
    answer = httpx.get(f"{url}/videos/{job_id}/video", timeout=60)
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    return path


def timestamps(path: Path) -> list[float]:
    """When each frame of a file is shown, in seconds from the first one; every one is decoded."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return [moment - times[0] for moment in times]


def drawn_indexes(path: Path) -> list[int]:
    """The numbers that `clips.pattern` drew into the frames of a file."""
    with av.open(str(path)) as container:
        return [clips.index_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def check_result(url: str, job_id: str, source: Path, folder: Path) -> None:
    """No frame of the source is missing or doubled, in the poses or in the pictures, and each comes at its time."""
    expected = timestamps(source)
    frames = poses(url, job_id)
    assert [frame.index for frame in frames] == list(range(len(expected)))
    written = timestamps(save_video(url, job_id, folder / f"{job_id}.mp4"))
    assert len(written) == len(expected)
    assert max(abs(a - b) for a, b in zip(written, expected, strict=True)) < 0.001
    assert max(abs(frame.timestamp - b) for frame, b in zip(frames, expected, strict=True)) < 0.001
    if source.stem.startswith("pattern"):
        assert drawn_indexes(folder / f"{job_id}.mp4") == drawn_indexes(source)
    if source.stem.startswith("discs"):
        check_discs(frames)


def check_discs(frames: list[Frame]) -> None:
    """The poses are those of `clips.discs_clip`, of one person all the time."""
    assert {person.id for frame in frames for person in frame.people} == {1}
    for frame in frames:
        neck = frame.people[0].keypoints["neck"]
        assert neck is not None
        x, y = clips.disc_neck(frame.index)
        assert abs(neck.x - x) < 8 and abs(neck.y - y) < 8  # smoothing lags a little behind


def three_clips(folder: Path, frames: int) -> list[Path]:
    """Clips that differ in what can go wrong: plain, with an uneven rate and B-frames, and with sound."""
    uneven = clips.shifting_timestamps(frames)
    return [
        clips.discs_clip(folder / "discs.mp4", frames=frames),
        clips.make_clip(folder / "pattern-uneven.mp4", frames=frames, timestamps=uneven),
        clips.make_clip(folder / "pattern-sound.mp4", frames=frames, audio="aac"),
    ]


class Pair:
    """A server and a worker that share the jobs of a folder."""

    def __init__(self, folder: Path, seconds_per_call: float) -> None:
        self.lines: list[str] = []
        self._env = {"YAOP_DATA_DIR": str(folder / "data"), "YAOP_JOB_CONCURRENCY": "2"}
        self._commands = {"server": (*FAKE, str(seconds_per_call)), "worker": (*FAKE_WORKER, str(seconds_per_call))}
        self._processes = {name: Server(command, self._env) for name, command in self._commands.items()}

    @property
    def url(self) -> str:
        """Of the server."""
        return self._processes["server"].url

    def kill(self, names: Sequence[str]) -> None:
        """Kill these at once, and start them again."""
        for name in names:
            self._processes[name].process.kill()
        for name in names:
            self._processes[name].stop()
            self.lines += self._processes[name].errors
            self._processes[name] = Server(self._commands[name], self._env)

    def end(self) -> None:
        """Stop both."""
        for process in self._processes.values():
            process.stop(signal.SIGKILL)
            self.lines += process.errors


def survive_kills(folder: Path, kills: int, seed: int, *, frames: int = 200, seconds_per_call: float = 0.01) -> int:
    """Kill a server and a worker that are at three jobs, at random moments; each job ends as if nothing had happened.

    Returns:
        How many kills came while jobs were unfinished.
    """
    moments = random.Random(seed)
    sources = three_clips(folder, frames)
    pair = Pair(folder, seconds_per_call)
    hits = 0
    try:
        ids = [upload(pair.url, source, draw=False) for source in sources]
        for _ in range(kills):
            time.sleep(moments.uniform(0.2, 2.5))
            unfinished = [i for i in ids if job(pair.url, i)["state"] in ("queued", "running")]
            hits += bool(unfinished)
            pair.kill(moments.choice([("server",), ("worker",), ("server", "worker")]))
            if len(unfinished) < 2:  # keep them busy
                ids += [upload(pair.url, source, draw=False) for source in sources]
        done = wait_for(pair.url, ids)
        assert {each["state"] for each in done} == {"succeeded"}, done
        for job_id, source in zip(ids, sources * len(ids), strict=False):
            check_result(pair.url, job_id, source, folder)
    finally:
        pair.end()
    assert not [line for line in pair.lines if "Traceback" in line]
    return hits
