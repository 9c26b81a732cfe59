"""Kill a server with live streams again and again, then leave it alone: ``python -m tests.soak_streams --minutes 10``.

Half of the time it is killed or stopped at random moments, and every client has to come back. In the other half
memory, threads and open files have to stay what they are. All the time some clients misbehave.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection

from service.streams.header import Header, Kind
from tests.server_process import Server
from tests.stream_bystander import check_log, look, open_stream, open_streams, until
from tests.stream_cases import huge_jpeg
from tests.stream_talk import HELLO, Talk, small_jpeg
from tests.watched_server import WATCHED, Holdings
from tests.websocket_bytes import Connection, Opcode, pack, request

_FRAME_BYTES = 100_000
_MORE_MEMORY = 10.0  # MB that may be added while nothing changes
_MORE_THREADS = 2
_SETTINGS = {
    "max_stream_frame_bytes": str(_FRAME_BYTES),
    "stream_idle_timeout": "5",
    "stream_send_timeout": "2",
    "videos": "false",
}


class Survivor(threading.Thread):
    """A client that comes back whenever the service is gone.

    Attributes:
        results: how many were right.
        endings: how its streams ended, by close code; 1006: without one.
    """

    def __init__(self, url: str, stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self.results = 0
        self.endings: Counter[int] = Counter()
        self.error: BaseException | None = None
        self._url, self._stopping = url, stopping

    def run(self) -> None:
        """Until it is told to stop."""
        try:
            while not self._stopping.wait(0.1):
                self._stream()
        except BaseException as error:  # noqa: BLE001 - told at the end
            self.error = error

    def _stream(self) -> None:
        try:
            with open_stream(self._url, smooth=False) as connection:
                self._look_on(connection)
        except (OSError, InvalidHandshake):  # nobody is there yet
            return
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            if code not in (1006, 1012):
                raise
            self.endings[code] += 1

    def _look_on(self, connection: ClientConnection) -> None:
        index = 0
        while not self._stopping.wait(0.03):
            try:
                look(connection, index)
            except TimeoutError:
                raise AssertionError(f"no result for picture {index}") from None
            index += 1
            self.results += 1


def _flood(talk: Talk) -> None:
    for sequence in range(50):
        talk.picture(small_jpeg(), timestamp=sequence / 30)
    talk.finish()


def _lie(talk: Talk) -> None:
    talk.connection.send(pack(Opcode.BINARY, b"\x01\x00\x00\x11" + bytes(40)))
    talk.finish()


def _break_frames(talk: Talk) -> None:
    talk.rude = True
    talk.connection.send(pack(3, b"?", masked=False))
    talk.finish()


def _send_too_much(talk: Talk) -> None:
    talk.connection.send(bytes([0x82, 0xFF]) + struct.pack("!Q", 2 * _FRAME_BYTES) + bytes(500))
    talk.finish()


def _send_no_pictures(talk: Talk) -> None:
    for body in (b"", b"nothing", huge_jpeg(), small_jpeg()[:200]):
        talk.picture(body)
        talk.settle()
    talk.hang_up()


def _half_close(talk: Talk) -> None:
    talk.rude = True
    talk.picture(small_jpeg())
    talk.connection.end_writing()
    talk.finish()


def _read_nothing(talk: Talk) -> None:
    talk.text('{"type": "options", "draw": true}')
    for sequence in range(100):
        talk.connection.send(pack(Opcode.BINARY, Header(Kind.PICTURE, sequence, 0.0).pack() + small_jpeg()))
        time.sleep(0.02)
    talk.hang_up()


def _fall_silent(talk: Talk) -> None:
    assert talk.finish().code == 4408


def _vanish(talk: Talk) -> None:
    talk.picture(small_jpeg())
    talk.connection.reset()


MISCHIEF: list[Callable[[Talk], None]] = [
    _flood, _lie, _break_frames, _send_too_much, _send_no_pictures, _half_close, _read_nothing, _fall_silent, _vanish,
]  # fmt: skip


class Misbehaver(threading.Thread):
    """Does what one shouldn't, one thing after the other.

    Attributes:
        done: how many things were answered as they should be.
    """

    def __init__(self, port: int, stopping: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self.error: BaseException | None = None
        self._port, self._stopping, self._random = port, stopping, random.Random(seed)
        self.disturbed = threading.Event()

    def run(self) -> None:
        """Until it is told to stop."""
        while not self._stopping.wait(0.05):
            try:
                self._misbehave()
                self.done += 1
            except (AssertionError, OSError) as error:
                # While servers are killed anything may be cut short; otherwise nothing may.
                if self.disturbed.is_set():
                    time.sleep(0.1)
                    continue
                self.error = error
                return

    def _misbehave(self) -> None:
        if self._random.random() < 0.2:
            connection = Connection(self._port)
            connection.send((request() + pack(Opcode.TEXT, HELLO.encode()))[: self._random.randrange(400)])
            connection.reset()
        else:
            self._random.choice(MISCHIEF)(Talk(self._port).open())


class Soak:
    """The server and all of its clients."""

    def __init__(self, folder: Path, seed: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = _SETTINGS | {"port": str(port), "data_dir": str(folder)}
        self._env = {f"YAOP_{name.upper()}": value for name, value in settings.items()}
        self.lines: list[str] = []
        self.server = self._start()
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self.survivors = [Survivor(self.server.url, self._stopping) for _ in range(6)]
        self.misbehavers = [Misbehaver(port, self._stopping, seed + i) for i in range(3)]
        for thread in (*self.survivors, *self.misbehavers):
            thread.start()

    def kill_for(self, seconds: float) -> Counter[str]:
        """Kill it and stop it at random moments. Gives how often."""
        counts: Counter[str] = Counter()
        end = time.monotonic() + seconds
        for misbehaver in self.misbehavers:
            misbehaver.disturbed.set()
        while time.monotonic() < end:
            self.all_see_results()
            time.sleep(self._random.uniform(0, 3))
            number = self._random.choice([signal.SIGKILL, signal.SIGTERM])
            counts[number.name] += 1
            code = self.server.stop(number)
            assert code == (0 if number == signal.SIGTERM else -number), f"it ended with {code}"
            self.lines += self.server.errors
            self.server = self._start()
        self.all_see_results()
        time.sleep(1)  # for what was cut short
        for misbehaver in self.misbehavers:
            misbehaver.disturbed.clear()
        return counts

    def leave_for(self, seconds: float) -> list[Holdings]:
        """Leave it alone. Gives what it held after each tenth of the time."""
        held: list[Holdings] = []
        for _ in range(10):
            time.sleep(seconds / 10)
            self.all_see_results()
            held.append(Holdings.of(self.server))
        return held

    def all_see_results(self) -> None:
        """Wait until every client has come back, and has something new."""
        due = [survivor.results + 2 for survivor in self.survivors]
        until(lambda: all(s.results >= n or s.error for s, n in zip(self.survivors, due, strict=True)), "all clients")
        self.check()

    def check(self) -> None:
        """No client has seen anything wrong."""
        for client in (*self.survivors, *self.misbehavers):
            if client.error is not None:
                raise client.error

    def end(self) -> Holdings:
        """Let all clients go, and stop. Gives what the server held when nobody was there."""
        self._stopping.set()
        for thread in (*self.survivors, *self.misbehavers):
            thread.join(30)
        until(lambda: open_streams(self.server.url) == 0, "all streams to be gone")
        alone = Holdings.of(self.server)
        assert self.server.stop() == 0
        self.lines += self.server.errors
        check_log(self.lines)
        return alone

    def _start(self) -> Server:
        return Server((*WATCHED, "0.002"), self._env)


def main() -> None:
    """Soak, and see that nothing was lost and nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), arguments.seed)
        try:
            kills = soak.kill_for(arguments.minutes * 30)
            held = soak.leave_for(arguments.minutes * 30)
            alone = soak.end()
        finally:
            soak.server.process.kill()
    _tell(soak, kills, held, alone)
    warm, last = held[2], held[-1]
    assert last.memory < warm.memory + _MORE_MEMORY, f"memory grows: {[round(one.memory) for one in held]} MB"
    assert last.threads <= warm.threads + _MORE_THREADS, f"threads grow: {[one.threads for one in held]}"


def _tell(soak: Soak, kills: Counter[str], held: list[Holdings], alone: Holdings) -> None:
    results = sum(survivor.results for survivor in soak.survivors)
    endings = sum((survivor.endings for survivor in soak.survivors), Counter[int]())
    memory, threads, files = ([getattr(one, name) for one in held] for name in ("memory", "threads", "files"))
    lines = [
        f"{kills['SIGKILL']} kills and {kills['SIGTERM']} stops: every client came back; {results} results, all right",
        f"streams ended with {json.dumps(dict(endings))}; {sum(one.done for one in soak.misbehavers)} misdeeds",
        f"left alone: memory {[round(size) for size in memory]} MB, threads {threads}, files {files}",
        f"with nobody there: {alone.files} files, tasks {json.dumps(alone.tasks)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
