"""The whole way of a request through a real server, against the bare engine call in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.engines import LONG_SIDE
from benchmarks.pictures import crowd
from benchmarks.timing import Timing, side_by_side
from shared.bundle import Bundle
from shared.inference.engine import load_engine
from shared.inference.estimator import PoseOptions, prepare
from tests import photos
from tests.server_process import REAL, running


@dataclass(frozen=True)
class ServingCost:
    """Engine call and `POST /pose` of a 640x480 JPEG at 384; start-up and memory of the server."""

    engine: Timing
    request: Timing
    empty_request: Timing
    start_seconds: float
    memory_mb: float

    @property
    def overhead(self) -> float:
        """What the request takes beyond the engine call, as a fraction of that call; the client counts too."""
        return (self.request.median - self.engine.median) / self.engine.median


def serving_cost(bundle: Bundle, runs: int = 60) -> ServingCost:
    """Start `yaop serve` with the LiteRT engine and measure it, in turns with the engine in this process."""
    picture = crowd(1)
    body = photos.encode(picture)
    engine = load_engine(bundle, "litert")
    images = prepare(picture, PoseOptions(LONG_SIDE), bundle.manifest.shapes).images
    begin = time.monotonic()
    with running(*REAL, engine="litert") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        ready = time.monotonic() - begin
        times = side_by_side(
            {
                "engine": lambda: engine.pose(images),
                "request": lambda: client.post(
                    "/pose", content=body, headers={"content-type": "image/jpeg"}
                ).raise_for_status(),
                "empty": lambda: client.get("/health/live").raise_for_status(),
            },
            runs,
        )
        for resolution in (256, 512):  # three graphs loaded, as after a while of mixed use
            client.post(f"/pose?resolution={resolution}", content=body, headers={"content-type": "image/jpeg"})
        memory = _resident_mb(server.process.pid)
    return ServingCost(times["engine"], times["request"], times["empty"], ready, memory)


def _resident_mb(process: int) -> float:
    """Resident memory in MB (Linux)."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise OSError(f"no VmRSS in /proc/{process}/status")
