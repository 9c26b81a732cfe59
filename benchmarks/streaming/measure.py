"""What live streams cost, and whether they are fair; each measurement on a running server with the shipped bundle."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import httpx

from benchmarks.memory import watching
from benchmarks.pictures import crowd
from benchmarks.streaming.clients import Load, Log, Reply, never_read, pictures, run
from benchmarks.timing import Timing, summarise
from shared.bundle import Bundle
from shared.inference.engine import Engine, load_engine
from shared.inference.estimator import PoseOptions, prepare
from tests.server_process import REAL, Server, running

LONG_SIDE = 256
"""Of the network's input at `fast`."""

CAMERA_FPS = 60
CLIENTS = 20
_PERIOD = 20.0  # of a stream, in seconds, at whose end the engine is timed while the stream pauses
_PAUSE = 1.0
_ENGINE_SECONDS = 0.6


@dataclass(frozen=True)
class Memory:
    """Resident memory of the service in MB: once it is warm, at the end, and the most."""

    first: float
    last: float
    peak: float


@dataclass(frozen=True)
class Served:
    """One stream that sends whenever it may.

    Attributes:
        credits: how many pictures it had under way. With more than one, each waits for the one before it.
        engine: the bare engine in this process, timed while the stream paused, all along.
        total: from a picture's arrival to its result, as the service says.
        working: the part of it that was not spent waiting, for another picture, a thread or the engine.
        seen: from sending to the result, as the client sees it.
        phases: medians of the service's phases, in ms.
        fps: results in a second, outside of the pauses.
        slowest: the same for the slowest stretch between two pauses.
    """

    seconds: float
    credits: int
    engine: Timing
    total: Timing
    working: Timing
    seen: Timing
    phases: dict[str, float]
    fps: float
    slowest: float
    memory: Memory

    @property
    def ratio(self) -> float:
        """The p95 from arrival to result, in medians of the engine."""
        return self.total.p95 / self.engine.median


@dataclass(frozen=True)
class Filmed:
    """A camera of 60 pictures a second: how old a picture is when its result comes, over time."""

    credits: int
    first_quarter: Timing
    last_quarter: Timing
    fps: float
    offered: int
    dropped_by_client: int
    skipped_by_service: int


@dataclass(frozen=True)
class Shares:
    """Results a second of clients that are there at once."""

    clients: int
    mean: float
    least: float
    most: float

    @property
    def share(self) -> float:
        """Of the mean, that the slowest gets."""
        return self.least / self.mean


@dataclass(frozen=True)
class Deaf:
    """The same with one more client, which never reads.

    Attributes:
        before: the clients without it.
        beside: the clients with it.
        after: the clients without it again.
        memory: what the service needed more at its peak, in MB.
        closed_after: seconds until the service hung up on it; None: never.
    """

    before: Shares
    beside: Shares
    after: Shares
    memory: float
    closed_after: float | None


@contextmanager
def service(bundle: Bundle) -> Iterator[Service]:
    """A server, and a process for its clients."""
    with (
        running(*REAL, engine="litert", videos="false") as server,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
    ):
        measured = Service(server, pool, load_engine(bundle, "litert"), bundle)
        measured.warm_up()
        yield measured


class Service:
    """A running server to be measured."""

    def __init__(self, server: Server, pool: ProcessPoolExecutor, engine: Engine, bundle: Bundle) -> None:
        self._server = server
        self._pool = pool
        self._engine = engine
        self._images = prepare(crowd(1), PoseOptions(LONG_SIDE), bundle.manifest.shapes).images

    def warm_up(self) -> None:
        """Everything once, so that memory is what it is in use."""
        self._run([Load(2.0)] * 8)
        self._time_engine(time.monotonic() + _ENGINE_SECONDS)

    def served(self, seconds: float, most: int) -> Served:
        """One stream for so long, with this many credits."""
        load = Load(seconds, most, period=min(_PERIOD, seconds / 2), pause=_PAUSE)
        with watching(self._server.process.pid) as memory:
            first = memory.now()
            streaming = self._pool.submit(run, self._server.url, [load])
            engine = self._time_engine_in_pauses(load)
            (log,) = streaming.result()
            used = Memory(first, memory.now(), memory.peak)
        times = [reply.timing_ms for reply in log.replies]
        return Served(
            seconds,
            most,
            summarise(engine),
            summarise([each["total"] for each in times]),
            summarise([each["total"] - each["queue"] for each in times]),
            _round_trips(log.replies),
            {phase: statistics.median(each[phase] for each in times) for phase in times[0]},
            len(log.replies) / (seconds - load.pause * (seconds // load.period)),
            _slowest(log, load),
            used,
        )

    def filmed(self, seconds: float, most: int) -> Filmed:
        """A camera of 60 fps for so long, with this many credits."""
        (log,) = self._run([Load(seconds, most, CAMERA_FPS)])
        quarter = seconds / 4
        first = [reply for reply in log.replies if reply.at < log.began + quarter]
        last = [reply for reply in log.replies if reply.at > log.began + 3 * quarter]
        return Filmed(
            most,
            _round_trips(first),
            _round_trips(last),
            len(log.replies) / seconds,
            log.offered,
            log.offered - log.sent,
            log.skipped,
        )

    def shares(self, seconds: float, clients: int = CLIENTS) -> Shares:
        """So many clients at once, each of which sends whenever it may."""
        rates = [len(log.replies) / seconds for log in self._run([Load(seconds)] * clients)]
        return Shares(clients, statistics.mean(rates), min(rates), max(rates))

    def deaf(self, seconds: float, clients: int = CLIENTS) -> Deaf:
        """The same beside one that never reads; before and after for half as long."""
        with watching(self._server.process.pid) as without:
            before = self.shares(seconds / 2, clients)
        with watching(self._server.process.pid) as memory:
            ignoring = self._pool.submit(never_read, self._server.url, seconds)
            beside = self.shares(seconds, clients)
            closed_after = ignoring.result()
        after = self.shares(seconds / 2, clients)
        return Deaf(before, beside, after, memory.peak - without.peak, closed_after)

    def streams(self) -> int:
        """How many the service counts."""
        found = re.search(r"^yaop_streams (\S+)$", httpx.get(f"{self._server.url}/metrics").text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def _run(self, loads: list[Load]) -> list[Log]:
        return self._pool.submit(run, self._server.url, loads).result()

    def _time_engine_in_pauses(self, load: Load) -> list[float]:
        """The stream's periods begin when it is welcome, which the service's count of streams tells."""
        while self.streams() == 0:
            time.sleep(0.01)
        begin = time.monotonic()
        times: list[float] = []
        for i in range(1, round(load.seconds // load.period) + 1):
            pause = begin + i * load.period - load.pause
            time.sleep(max(0.0, pause + 0.2 - time.monotonic()))
            times += self._time_engine(pause + 0.2 + _ENGINE_SECONDS)
        return times

    def _time_engine(self, end: float) -> list[float]:
        times: list[float] = []
        while (begin := time.monotonic()) < end:
            self._engine.pose(self._images)
            times.append((time.monotonic() - begin) * 1000)
        return times


def picture_bytes() -> int:
    """Of a picture that is sent."""
    return round(statistics.mean(map(len, pictures())))


def _round_trips(replies: list[Reply]) -> Timing:
    return summarise([reply.round_trip_ms for reply in replies])


def _slowest(log: Log, load: Load) -> float:
    """Results a second in the slowest of the spans between two pauses."""
    span = load.period - load.pause
    starts = [log.began + i * load.period for i in range(int(load.seconds // load.period))]
    return min(sum(start <= reply.at < start + span for reply in log.replies) / span for start in starts)
