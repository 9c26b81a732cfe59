"""A video through a real server, against the bare engine on the same frames; `POST /pose` beside it; memory over time.

python -m benchmarks.video [--seconds 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.memory import watching
from benchmarks.pictures import crowd
from service.media.probe import probe_video
from service.media.reader import VideoReader
from shared.bundle import Bundle, load_bundle, shipped_models_dir
from shared.inference.engine import load_engine
from shared.inference.estimator import PoseOptions, fit
from tests import clips, photos, video_jobs
from tests.server_process import REAL, running

SIZE = (1280, 720)
FPS = 30
_SAMPLED_FRAMES = 240
_REQUESTS = 60
_RESOLUTIONS = {"balanced": 384, "accurate": 512}


@dataclass(frozen=True)
class Speed:
    """Frames per second at one resolution."""

    engine: float
    pipeline: float

    @property
    def share(self) -> float:
        """Of the bare engine's speed that the whole pipeline reaches."""
        return self.pipeline / self.engine


@dataclass(frozen=True)
class Interactive:
    """`POST /pose` of a 640x480 JPEG, in milliseconds."""

    idle_p95: float
    busy_p95: float
    idle_median: float
    busy_median: float


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB: of the service, and of it with the processes that decode."""

    idle: float
    peak: float
    end: float
    peak_with_decoders: float


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the clip")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    bundle = load_bundle(shipped_models_dir() / "mobilenet_fpn")
    with tempfile.TemporaryDirectory() as folder:
        clip = clips.people_clip(Path(folder) / "clip.mp4", arguments.seconds, SIZE, FPS, audio="aac")
        speeds, interactive, memory = _measure(bundle, clip, Path(folder))
    sys.stdout.write(_report(arguments.seconds, speeds, interactive, memory) + "\n")
    if arguments.json:
        results = {"speeds": {name: asdict(speed) | {"share": speed.share} for name, speed in speeds.items()}}
        results |= {"interactive": asdict(interactive), "memory": asdict(memory)}
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def _measure(bundle: Bundle, clip: Path, folder: Path) -> tuple[dict[str, Speed], Interactive, Memory]:
    with running(*REAL, engine="litert", data_dir=str(folder / "data")) as server:
        idle = _latencies(server.url)
        with watching(server.process.pid) as samples:
            quiet = samples.now()
            speeds = {
                name: _speed(server.url, bundle, clip, name, side) for name, side in list(_RESOLUTIONS.items())[:1]
            }
            memory = Memory(quiet, samples.peak, samples.now(), samples.peak_with_children)
        for name, side in list(_RESOLUTIONS.items())[1:]:
            speeds[name] = _speed(server.url, bundle, clip, name, side)
        job_id = video_jobs.upload(server.url, clip, resolution="balanced")
        time.sleep(2)
        busy = _latencies(server.url)
        assert video_jobs.job(server.url, job_id)["state"] == "running", "the clip is too short"
        httpx.delete(f"{server.url}/videos/{job_id}", timeout=60)
    return speeds, Interactive(_p95(idle), _p95(busy), statistics.median(idle), statistics.median(busy)), memory


def _speed(url: str, bundle: Bundle, clip: Path, resolution: str, side: int) -> Speed:
    """The job between two measurements of the engine, so that a slow spell of the machine hits both."""
    before = _engine_fps(bundle, clip, side)
    begin = time.perf_counter()
    job_id = video_jobs.upload(url, clip, resolution=resolution)
    (job,) = video_jobs.wait_for(url, [job_id], seconds=3600, pause=0.5)
    seconds = time.perf_counter() - begin
    assert job["state"] == "succeeded", job
    after = _engine_fps(bundle, clip, side)
    return Speed((before + after) / 2, job["frames_done"] / seconds)


def _engine_fps(bundle: Bundle, clip: Path, side: int) -> float:
    engine = load_engine(bundle, "litert")
    info = probe_video(clip)
    options = PoseOptions(long_side=side)
    with VideoReader(clip, info) as reader:
        inputs = [
            frame.letterboxed(fit(frame.width, frame.height, options, engine.shapes))
            for frame, _ in zip(reader, range(_SAMPLED_FRAMES), strict=False)
        ]
    engine.pose(inputs[0])
    begin = time.perf_counter()
    for images in inputs:
        engine.pose(images)
    fps = len(inputs) / (time.perf_counter() - begin)
    engine.close()
    return fps


def _latencies(url: str) -> list[float]:
    body = photos.encode(crowd(1))
    times: list[float] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for _ in range(_REQUESTS + 3):
            begin = time.perf_counter()
            client.post("/pose", content=body, headers={"content-type": "image/jpeg"}).raise_for_status()
            times.append((time.perf_counter() - begin) * 1000)
    return times[3:]


def _p95(values: list[float]) -> float:
    return sorted(values)[round(0.95 * (len(values) - 1))]


def _report(seconds: float, speeds: dict[str, Speed], interactive: Interactive, memory: Memory) -> str:
    lines = [f"A clip of {seconds:g} s, {SIZE[0]}x{SIZE[1]} at {FPS} fps, two people, uploaded to `yaop serve`:", ""]
    lines += ["| resolution | engine alone fps | whole pipeline fps | share |", "|---|---|---|---|"]
    lines += [f"| {name} | {s.engine:.1f} | {s.pipeline:.1f} | {s.share:.0%} |" for name, s in speeds.items()]
    ratio = interactive.busy_p95 / interactive.idle_p95
    lines += ["", f"POST /pose meanwhile: p95 {interactive.busy_p95:.0f} ms against {interactive.idle_p95:.0f} ms idle"]
    lines[-1] += f" ({ratio:.1f} times); median {interactive.busy_median:.0f} against {interactive.idle_median:.0f} ms."
    lines += [f"Memory of the service: {memory.idle:.0f} MB idle, {memory.peak:.0f} MB at its peak,"]
    lines += [f"{memory.end:.0f} MB afterwards; with the processes that decode {memory.peak_with_decoders:.0f} MB."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
