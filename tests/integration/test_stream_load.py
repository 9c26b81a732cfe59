"""Many streams at once, and clients that ask for too much or don't do their part: the others don't notice."""

from __future__ import annotations

import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from service.streams.header import Header, Kind
from service.streams.messages import StreamResult
from tests.photos import encode
from tests.server_process import Server, running
from tests.stream_bystander import Bystander, open_stream, open_streams, unharmed, until
from tests.stream_talk import HELLO, Talk, small_jpeg
from tests.watched_server import WATCHED, Holdings
from tests.websocket_bytes import Connection, Opcode, pack, request

IDLE = 2
SEND = 1
MEMORY = 20.0


@pytest.fixture(scope="module")
def watched() -> Iterator[Server]:
    settings = {"stream_idle_timeout": str(IDLE), "stream_send_timeout": str(SEND), "videos": "false"}
    with running(*WATCHED, "0.005", **settings) as server:
        with Bystander(server.url), ThreadPoolExecutor(8) as threads:  # so that what is opened once is open
            list(threads.map(lambda _: _results(server.url, 1.0, draw=True), range(8)))
        until(lambda: open_streams(server.url) == 0, "the warm-up to be over")
        yield server


@pytest.fixture
def server(watched: Server) -> Iterator[Server]:
    with unharmed(watched):
        yield watched


def _picture(sequence: int, body: bytes | None = None) -> bytes:
    return Header(Kind.PICTURE, sequence, sequence / 30).pack() + (body or small_jpeg())


def _results(url: str, seconds: float, **hello: object) -> int:
    """Offer pictures as fast as they may come. Gives the number of results in that time."""
    end = time.monotonic() + seconds
    results = 0
    with open_stream(url, encoding="msgpack" if hello.get("draw") else "json", **hello) as connection:
        for sequence in range(2):
            connection.send(_picture(sequence))
        while time.monotonic() < end:
            connection.recv(30)
            results += 1
            connection.send(_picture(results + 1))
    return results


def _ends(server: Server, code: int) -> float:
    text = httpx.get(f"{server.url}/metrics").text
    found = re.search(rf'^yaop_stream_ends_total{{code="{code}"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_twenty_clients_get_a_fair_share(server: Server) -> None:
    with ThreadPoolExecutor(20) as threads:
        results = list(threads.map(lambda _: _results(server.url, 4.0), range(20)))
    assert min(results) >= statistics.mean(results) / 2, results


def test_a_client_that_never_reads_costs_little_and_is_closed(watched: Server) -> None:
    ended = _ends(watched, 4408)
    before = Holdings.of(watched)
    with unharmed(watched) as bystander:
        bystander.see(20)
        alone = statistics.median(bystander.seconds)
        deaf, peak = _never_read(watched, lambda: _ends(watched, 4408) > ended)
        beside = statistics.median(bystander.seconds[-20:])
        with deaf.socket:  # it is there still; the service has let go of it
            until(lambda: open_streams(watched.url) == 1, "the client that does not read to be closed")
            until(lambda: Holdings.of(watched).files <= before.files + 1, "its socket to be closed")
    assert peak - before.memory < MEMORY
    assert beside < 3 * alone + 0.05, (beside, alone)


def _never_read(server: Server, closed: Callable[[], bool]) -> tuple[Connection, float]:
    """Ask for large drawn pictures and let them lie, until the service closes. Gives its highest memory."""
    deaf = Connection(server.port)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert deaf.handshake() == 101
    deaf.send(pack(Opcode.TEXT, b'{"type": "hello", "resolution": "fast", "draw": true, "credits": 16}'))
    large = encode(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8), "jpeg")  # some 400 kB
    peak, end, sequence = 0.0, time.monotonic() + 60, 0
    deaf.socket.settimeout(1)
    while not closed():
        assert time.monotonic() < end, "it is never closed"
        if sequence >= 0:
            try:
                deaf.send(pack(Opcode.BINARY, _picture(sequence, large)))
                sequence += 1
            except TimeoutError:  # the service does not read on while its answers lie
                sequence = -1
        peak = max(peak, Holdings.of(server).memory)
        time.sleep(0.05)  # it trusts that what it sent has been answered meanwhile
    return deaf, peak


@pytest.mark.parametrize("most", [1, 16])
def test_ten_thousand_pictures_at_once_end_the_stream(server: Server, most: int) -> None:
    memory = Holdings.of(server).memory
    talk = Talk(server.port).open(f'{{"type": "hello", "resolution": "fast", "credits": {most}}}')
    frames = [pack(Opcode.BINARY, _picture(talk.expect(sequence))) for sequence in range(10_000)]
    sending = threading.Thread(target=talk.connection.send, args=(b"".join(frames),), daemon=True)
    sending.start()
    assert talk.finish().code == 4429
    sending.join(30)
    assert not sending.is_alive()
    assert Holdings.of(server).memory - memory < MEMORY


def test_ten_thousand_texts_at_once_end_the_stream(server: Server) -> None:
    memory = Holdings.of(server).memory
    talk = Talk(server.port).open()
    texts = pack(Opcode.TEXT, b'{"type": "options"}') * 10_000
    sending = threading.Thread(target=talk.connection.send, args=(texts,), daemon=True)
    sending.start()
    assert talk.finish().code == 4429
    sending.join(30)
    assert Holdings.of(server).memory - memory < MEMORY


def test_bytes_one_by_one_and_silence_are_timed_out(server: Server) -> None:
    files = Holdings.of(server).files
    drip = Talk(server.port).open()
    silent = Talk(server.port).open()  # a connection that is open on one side only is no different
    picture = pack(Opcode.BINARY, _picture(0))
    begin = time.monotonic()
    for byte in picture[: 2 * IDLE * 5]:
        drip.connection.send(bytes([byte]))
        time.sleep(0.2)
        if time.monotonic() - begin > IDLE + 2:
            break
    assert drip.finish().code == 4408
    # The other one answers nothing, not even the close frame.
    until(lambda: open_streams(server.url) == 1, "the silent one to be closed")
    until(lambda: Holdings.of(server).files <= files, "its socket to be closed")
    assert silent.finish().code == 4408


@pytest.mark.slow
def test_no_hello_is_timed_out(server: Server) -> None:
    silent, drip = Connection(server.port), Talk(server.port).open(None)
    assert silent.handshake() == 101
    for byte in pack(Opcode.TEXT, HELLO.encode())[:11]:
        drip.connection.send(bytes([byte]))
        time.sleep(1)
    assert drip.finish().code == 4408
    until(lambda: open_streams(server.url) == 1, "the silent one to be closed")
    silent.socket.close()


def test_a_storm_of_reconnects_leaves_nothing_behind(server: Server) -> None:
    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda i: _open_and_drop(server.port, i), range(200)))
    assert statuses == [101] * 200


def _open_and_drop(port: int, i: int) -> int:
    connection = Connection(port)
    status = connection.handshake(request())
    connection.send(pack(Opcode.TEXT, HELLO.encode()))
    connection.send(pack(Opcode.BINARY, _picture(0)))
    connection.reset() if i % 2 else connection.socket.close()
    return status


def test_streams_over_the_limit_are_told_to_come_later(server: Server) -> None:
    talks = [Talk(server.port).open() for _ in range(31)]  # and the bystander
    late = Talk(server.port).open(None)
    assert late.finish().code == 1013
    for talk in talks:
        talk.picture(small_jpeg())
    for talk in talks:
        assert isinstance(talk.read(), StreamResult)
        talk.hang_up()
    until(lambda: open_streams(server.url) == 1, "the others to be gone")
    Talk(server.port).open().hang_up()
