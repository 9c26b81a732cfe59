"""Connections that leave the service waiting for a request's headers are closed, and no others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import chain, repeat

import httpx
import pytest

import service.http.choice
from tests.stream_client import SECONDS, Service, StreamClient, picture, streaming

LATE = 0.5
PIECE = 0.05  # seconds between two pieces of what is sent slowly
REQUEST = b"GET /health/live HTTP/1.1\r\nHost: yaop\r\n\r\n"
POST = b"POST /pose HTTP/1.1\r\nHost: yaop\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module", params=["httptools", "h11"])
def running(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service that waits for headers for half a second, on each parser."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "h11":
            patch.setattr(service.http.choice, "find_spec", lambda _name: None)
        with streaming(header_timeout=LATE) as started:
            yield started


@pytest.fixture
def connection(running: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", running.port)) as connected:
        yield connected


def is_open(connection: socket.socket, seconds: float) -> bool:
    """Whether the service leaves it open for so long, and sends nothing. Whatever it says is the last of it."""
    connection.settimeout(seconds)
    try:
        while connection.recv(100):
            connection.settimeout(SECONDS)
    except ConnectionError:
        return False
    except TimeoutError:
        assert connection.gettimeout() == seconds, "it answers, and stays open"
        return True
    return False


def pieces_taken(connection: socket.socket, pieces: Iterator[bytes]) -> int:
    """Send slowly until the connection is closed. Gives how many pieces it took."""
    taken = 0
    while is_open(connection, PIECE):
        try:
            connection.sendall(next(pieces))
        except ConnectionError:
            break
        taken += 1
        assert taken < SECONDS / PIECE, "it stays open"
    return taken


def answer(connection: socket.socket) -> bytes:
    """The next answer: its status line."""
    connection.settimeout(SECONDS)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    head = data.lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    while length:
        length -= len(connection.recv(length))
    return data.split(b"\r\n")[0]


def test_a_silent_connection_is_closed(connection: socket.socket) -> None:
    assert is_open(connection, LATE / 2)
    assert not is_open(connection, SECONDS)


def test_headers_that_come_byte_by_byte_do_not_gain_time(connection: socket.socket) -> None:
    connection.sendall(b"GET /stream HTTP/1.1\r\nHost: ")
    assert pieces_taken(connection, repeat(b"x")) <= LATE / PIECE


@pytest.mark.parametrize("piece", [b"G", b"\r\n"])
def test_nor_does_a_request_after_others(connection: socket.socket, piece: bytes) -> None:
    for _ in range(2):
        connection.sendall(REQUEST)
        assert answer(connection) == b"HTTP/1.1 200 OK"
    assert is_open(connection, 1.5 * LATE)  # idle, which is uvicorn's matter
    line = b"ET /health/live HTTP/1.1\r\nX-Slow: " if piece == b"G" else b""
    slowly = chain([piece], [line] if line else [], repeat(b"x" if line else piece))
    assert 0 < pieces_taken(connection, slowly) <= LATE / PIECE + 1


def test_headers_in_pieces_that_are_there_in_time_are_fine(connection: socket.socket) -> None:
    for _ in range(4):
        for start in range(0, len(REQUEST), 9):
            connection.sendall(REQUEST[start : start + 9])
            if start + 9 < len(REQUEST):
                assert is_open(connection, PIECE / 2)
        assert answer(connection) == b"HTTP/1.1 200 OK"


def test_a_body_may_take_longer(connection: socket.socket) -> None:
    body = picture()
    step = len(body) // 20 + 1
    for _ in range(2):
        connection.sendall(POST % len(body))
        for start in range(0, len(body), step):
            assert is_open(connection, PIECE)
            connection.sendall(body[start : start + step])
        assert answer(connection) == b"HTTP/1.1 200 OK"


def test_so_may_an_answer_even_where_the_next_request_has_begun(running: Service, connection: socket.socket) -> None:
    running.engine.gate.clear()
    body = picture()
    connection.sendall(POST % len(body) + body + b"GET /hea")
    assert is_open(connection, LATE / 2)
    connection.sendall(b"lth/live HTTP/1.1\r\n")
    open_meanwhile = is_open(connection, 2 * LATE)
    running.engine.gate.set()
    assert open_meanwhile
    assert answer(connection) == b"HTTP/1.1 200 OK"
    connection.sendall(REQUEST.partition(b"\r\n")[2])
    assert answer(connection) == b"HTTP/1.1 200 OK"


def test_streams_are_not_requests(running: Service) -> None:
    with StreamClient(running.url) as client:
        assert client.look(0).people
        with pytest.raises(TimeoutError):
            client.socket.recv(2 * LATE)
        assert client.look(1).people


def test_a_bad_request_is_still_answered(running: Service, connection: socket.socket) -> None:
    connection.sendall(b"\0\0\0\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{running.url}/health/live").status_code == 200
