"""The parts of the scale profile as plain processes on loopback: database, replicas, workers, and nginx before them."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.nginx import Nginx, nginx
from tests.postgres import postgres
from tests.server_process import REAL, Server

REAL_WORKER = ("-m", "shared.cli", "worker")
SECONDS = 60.0

_CLIENTS = 4
_FROZEN_SECONDS = 0.3
_ONE_THREAD = {"YAOP_THREADS": "1", "YAOP_WORKERS": "2"}


class Scale:
    """What runs. Replicas and workers share a folder and a database, as in docker-compose.yml.

    Attributes:
        replicas: two that answer and leave videos to others.
        workers: two that work on one video each.
        balancer: the address of it all.
    """

    def __init__(self, folder: Path, database: str) -> None:
        data = folder / "data"
        shared = {"YAOP_DATA_DIR": str(data), "YAOP_ARTIFACTS_URL": str(data / "videos"), "YAOP_WORKER_TIMEOUT": "2"}
        self._env = shared | {"YAOP_DATABASE_URL": database} | _ONE_THREAD
        self.replicas: list[Server] = []
        self.workers: list[Server] = []
        self.balancer: Nginx

    def start(self, stack: ExitStack) -> None:
        """Start everything; `stack` ends it."""
        stack.callback(self._end)
        for _ in range(2):
            self.replicas.append(self._replica(0))
        for _ in range(2):
            self.workers.append(Server(REAL_WORKER, self._env | {"YAOP_JOB_CONCURRENCY": "1"}))
        self.balancer = stack.enter_context(nginx([replica.port for replica in self.replicas]))

    @property
    def url(self) -> str:
        """Of the balancer."""
        return self.balancer.url

    def address(self, index: int) -> str:
        """Of a replica, as the balancer's log has it."""
        return self.replicas[index].url.removeprefix("http://")

    def start_again(self, index: int) -> None:
        """Start a replica that is gone, where it was, and wait until the balancer has found it."""
        self.replicas[index] = self._replica(self.replicas[index].port)
        end = time.monotonic() + SECONDS
        while self._answered_by() != self.address(index):
            assert time.monotonic() < end, "the balancer does not find the replica again"
            time.sleep(0.1)

    def metric(self, index: int, name: str) -> float:
        """The sum of the samples of a replica's metric that start like this."""
        lines = httpx.get(f"{self.replicas[index].url}/metrics", timeout=SECONDS).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def tracebacks(self) -> list[str]:
        """Lines of what runs now that should not be in any log."""
        return [line for each in (*self.replicas, *self.workers) for line in each.errors if "Traceback" in line]

    def _answered_by(self) -> str:
        """The address of whoever the balancer asks now."""
        request_id = uuid.uuid4().hex
        answer = httpx.get(f"{self.url}/models", headers={"X-Request-ID": request_id}, timeout=SECONDS)
        return self.balancer.logged(request_id)["replica"] if answer.is_success else ""

    def _replica(self, port: int) -> Server:
        settings = {"YAOP_JOB_CONCURRENCY": "0", "YAOP_MAX_STREAMS_PER_ADDRESS": "1", "YAOP_PORT": str(port)}
        return Server(REAL, self._env | settings)

    def _end(self) -> None:
        for process in (*self.workers, *self.replicas):
            process.stop(signal.SIGKILL)


@contextmanager
def scale_profile() -> Iterator[Scale]:
    """All of it in a folder of its own, ended with the block."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="yaop-scale-", ignore_cleanup_errors=True))
        folder = Path(name)
        scale = Scale(folder, stack.enter_context(postgres()))
        scale.start(stack)
        yield scale


def kill_at_work(server: Server) -> None:
    """Kill it when it has certainly begun what it is not going to finish: it is frozen first."""
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(_FROZEN_SECONDS)
    server.stop(signal.SIGKILL)


@dataclass
class Load:
    """Clients that send one picture over and over.

    Attributes:
        answers: what they got, by the ids of the requests.
        failures: requests that got no answer at all.
    """

    url: str
    picture: bytes
    answers: dict[str, httpx.Response] = field(default_factory=dict[str, httpx.Response])
    failures: list[str] = field(default_factory=list[str])
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, disturb: Callable[[], object], before: int = 20, after: int = 40) -> None:
        """Send pictures; `disturb` once so many were answered, and send as many more as `after` says."""
        clients = [threading.Thread(target=self._send, daemon=True) for _ in range(_CLIENTS)]
        for client in clients:
            client.start()
        try:
            self._wait_for(before)
            disturb()
            self._wait_for(len(self.answers) + after)
        finally:
            self._over.set()
            for client in clients:
                client.join(SECONDS)

    def _send(self) -> None:
        with httpx.Client(base_url=self.url, timeout=SECONDS) as client:
            while not self._over.is_set():
                request_id = uuid.uuid4().hex
                headers = {"X-Request-ID": request_id, "Content-Type": "image/jpeg"}
                try:
                    answer = client.post("/pose?resolution=fast", content=self.picture, headers=headers)
                    self.answers[request_id] = answer
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def _wait_for(self, count: int) -> None:
        end = time.monotonic() + SECONDS
        while len(self.answers) < count:
            assert time.monotonic() < end and not self.failures, (len(self.answers), self.failures)
            time.sleep(0.01)
