"""A well-behaved stream beside whatever a test does to the service: it must not notice."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Self

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from service.streams.header import Header, Kind
from service.streams.messages import PATH, PROTOCOL, SERVER_MESSAGE, StreamError, StreamResult, Welcome
from tests.fake_engine import discs, person_at
from tests.photos import encode
from tests.server_process import Server
from tests.watched_server import Holdings

PLACES = tuple(round(68 + 28 * math.sin(math.tau * i / 60)) for i in range(60))
"""Where the neck is, in pixels from the left, picture for picture and then again: back and forth, smoothly."""

SECONDS = 30.0
_PAUSE = 0.05
_LIBJPEG = ("Corrupt JPEG data", "Premature end of JPEG", "Invalid SOS parameters", "Unsupported marker", "libpng")
"""It writes to stderr itself, past the log, when a picture is broken."""


@cache
def _pictures() -> list[bytes]:
    return [encode(discs(128, 96, person_at(x, 60, 34), 6), "jpeg") for x in PLACES]


class Bystander:
    """Sends a picture, waits for its result and looks whether it is right, all the time, on a thread.

    Attributes:
        seconds: how long each result took.
    """

    def __init__(self, url: str) -> None:
        self.seconds: list[float] = []
        self._url = url
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.see(3)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the bystander waits for a result"
        if self._error is not None and error is None:
            raise AssertionError("the bystander noticed") from self._error

    def see(self, results: int) -> None:
        """Wait for so many more results.

        Raises:
            AssertionError: something about a result was wrong.
        """
        due = len(self.seconds) + results
        until(lambda: len(self.seconds) >= due or not self._thread.is_alive(), f"{results} results of the bystander")
        if self._error is not None:
            raise AssertionError("the bystander noticed") from self._error

    def _work(self) -> None:
        try:
            with open_stream(self._url, smooth=False) as connection:
                while not self._stopping.wait(_PAUSE):
                    begin = time.perf_counter()
                    look(connection, len(self.seconds))
                    self.seconds.append(time.perf_counter() - begin)
        except BaseException as error:  # noqa: BLE001 - told to who waits
            self._error = error


def look(connection: ClientConnection, index: int) -> None:
    """Send the picture of this number and wait for its result, which has to be right.

    A person walks back and forth in these pictures, so that a wrong one's result is seen.

    Raises:
        ConnectionClosed: the service ended the stream.
    """
    place = index % len(PLACES)
    connection.send(Header(Kind.PICTURE, index, index / 30).pack() + _pictures()[place])
    result = SERVER_MESSAGE.validate_json(connection.recv(SECONDS))
    if isinstance(result, StreamError) and result.fatal:
        connection.recv(SECONDS)  # nothing but the end
    assert isinstance(result, StreamResult) and result.index == index and result.dropped == 0, result
    neck = result.people[0].keypoints["neck"]
    assert neck is not None and abs(neck.x - PLACES[place]) < 2, f"{neck} for {PLACES[place]}"
    assert [person.id for person in result.people] == [1], result


@contextmanager
def open_stream(url: str, **hello: object) -> Iterator[ClientConnection]:
    """A stream that was welcomed, at `fast`."""
    address = url.replace("http", "ws", 1) + PATH
    protocols = [Subprotocol(PROTOCOL)]
    with connect(address, subprotocols=protocols, compression=None, proxy=None, open_timeout=SECONDS) as connection:
        connection.send(json.dumps({"type": "hello", "resolution": "fast"} | hello))
        welcome = connection.recv(SECONDS)
        assert hello.get("encoding") == "msgpack" or isinstance(SERVER_MESSAGE.validate_json(welcome), Welcome)
        yield connection


def open_streams(url: str) -> int:
    """How many the service counts."""
    found = re.search(r"^yaop_streams (\S+)$", httpx.get(f"{url}/metrics", timeout=SECONDS).text, re.MULTILINE)
    assert found
    return int(float(found[1]))


def until(fits: Callable[[], bool], what: str) -> None:
    """Wait for something of another process, which can only be asked for."""
    end = time.monotonic() + SECONDS
    while not fits():
        assert time.monotonic() < end, f"waited {SECONDS:g} s for {what}"
        time.sleep(0.02)


@contextmanager
def unharmed(server: Server) -> Iterator[Bystander]:
    """Whatever happens in the block: at its end a watched server holds what it held, and has logged no error.

    Another stream goes on all the time, and has to get all its results, right and in order.
    """
    before = Holdings.of(server)
    lines = len(server.errors)
    with Bystander(server.url) as bystander:
        yield bystander
        bystander.see(3)
    until(lambda: open_streams(server.url) == 0, "no stream to be left")
    until(lambda: Holdings.of(server).tasks == before.tasks, f"tasks to be {before.tasks}")
    until(lambda: Holdings.of(server).files <= before.files, f"open files to be {before.files}")
    check_log(server.errors[lines:])


def check_log(lines: list[str]) -> None:
    """No error in the log, and nothing that is no line of the log, such as a traceback."""
    said = [line for line in lines if not line.startswith(_LIBJPEG)]
    levels = [json.loads(line)["level"] if line.startswith("{") else line for line in said]
    bad = [line for line, level in zip(said, levels, strict=True) if level not in ("debug", "info", "warning")]
    assert not bad, "".join(bad[:20])
