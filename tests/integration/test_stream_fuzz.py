"""Thousands of clients that say anything: each is answered or closed as documented, and nobody else notices.

`YAOP_TEST_FUZZ=10` tries ten times as many; together with ``--hypothesis-profile=exploring`` others in every run.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.streams.messages import PROTOCOL, OptionsChanged, StreamError, StreamResult, Welcome
from service.streams.reading import MOST_TEXT
from tests import stream_cases as cases
from tests.server_process import Server, running
from tests.stream_bystander import Bystander, unharmed
from tests.stream_talk import HELLO, End, Talk, small_jpeg
from tests.watched_server import WATCHED
from tests.websocket_bytes import Connection, Opcode, pack, request

FACTOR = float(os.environ.get("YAOP_TEST_FUZZ", "1"))


@pytest.fixture(scope="module")
def watched() -> Iterator[Server]:
    limits = {"max_stream_frame_bytes": str(cases.FRAME_BYTES), "max_stream_fps": "1000", "videos": "false"}
    with running(*WATCHED, **limits) as server:
        with Bystander(server.url):
            pass  # so that what is opened once is open
        yield server


@pytest.fixture
def server(watched: Server) -> Iterator[Server]:
    """One that must be as it was when the test is over."""
    with unharmed(watched):
        yield watched


def many(examples: int) -> Callable[[Any], Any]:
    """So many cases, whatever the machine's speed."""
    return hypothesis.settings(
        max_examples=round(examples * FACTOR),
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )


# --- handshakes

_NAMES = st.sampled_from([PROTOCOL, "yaop.stream.v0", "yaop.stream.v2", "YAOP.STREAM.V1", "chat", "yaop.stream.v1x"])


@many(100)
@given(protocols=st.lists(_NAMES, max_size=3))
def test_only_a_subprotocol_that_is_spoken_gets_a_stream(server: Server, protocols: list[str]) -> None:
    connection = Connection(server.port)
    assert connection.handshake(request(protocols)) == (101 if PROTOCOL in protocols else 400)
    connection.socket.close()


_OWN = ("http://yaop", "https://yaop", "http://yaop:80")  # a proxy may end TLS
_ORIGINS = st.sampled_from(
    ["null", "http://evil.example", "http://127.0.0.1", "http://yaop.evil.example", "http://yaop:81", "http://[::1",
     "http://[bad", "yaop", "//yaop", "", "http://", "http://yaop@evil.example", "*", "file://", "http://yaop:99999",
     "http://yaop:x", "http://y\u00e4op", "http://127.0.0.1:1, http://yaop", "http://yaop/path", *_OWN]
) | st.text(st.characters(codec="latin-1", exclude_categories=["Cc", "Zs"]), max_size=20)  # fmt: skip


@many(120)
@given(origin=_ORIGINS)
def test_pages_of_other_origins_get_no_stream(server: Server, origin: str) -> None:
    connection = Connection(server.port)
    assert connection.handshake(request(origin=origin)) == (101 if origin in _OWN else 403)
    connection.socket.close()


_STARTS = [
    "GET /stream HTTP/1.0", "POST /stream HTTP/1.1", "GET /stream/ HTTP/1.1", "GET /stream?x=%ff HTTP/1.1",
    "GET //stream HTTP/1.1", "GET /%73tream HTTP/1.1", "GET /pose HTTP/1.1", "GET /nothing HTTP/1.1", "GET / HTTP/1.1",
    "HEAD /stream HTTP/1.1", "GET http://yaop/stream HTTP/1.1", "GET /stream HTTP/2.0", "GET /metrics HTTP/1.1",
    "GET /stre%00am HTTP/1.1", "GET /" + "x" * 9000 + " HTTP/1.1", "OPTIONS * HTTP/1.1", "nonsense",
]  # fmt: skip
_KEYS = st.sampled_from(["", "x", "dGhlIHNhbXBsZSBub25jZQ=", "\u00ff" * 24]) | st.text("ab=+/", max_size=30)
_MORE = [
    b"", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"X: \xff\r\n", b"X: " + b"a" * 9000 + b"\r\n",
    b"".join(b"X-%d: 1\r\n" % i for i in range(200)), b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    b"Sec-WebSocket-Extensions: ;;\r\n", b'Sec-WebSocket-Protocol: a\tb, "\r\n', b"Host: other\r\n",
    b"Sec-WebSocket-Protocol: chat\r\n", b"Origin: http://evil.example\r\n", b"Connection: close\r\n",
    b"X-Request-Id: " + b"y" * 300 + b"\r\n", b"Cookie: a=b\r\n", b": empty\r\n", b"no colon\r\n", b"Upgrade: h2c\r\n",
]  # fmt: skip
_EARLY = [b"", pack(Opcode.TEXT, HELLO.encode()), pack(Opcode.BINARY, b"", masked=False), b"\xff" * 30]


@many(200)
@given(
    start=st.sampled_from(_STARTS),
    key=st.none()
    | st.sampled_from(["", "x", "dGhlIHNhbXBsZSBub25jZQ=", "\u00ff" * 24])
    | st.text("ab=+/", max_size=30),
    version=st.none() | st.sampled_from(["", "12", "13, 8", "x", "13"]),
    more=st.sampled_from(_MORE),
    early=st.sampled_from(_EARLY),
    usual=st.sets(st.sampled_from(["start", "key", "version", "more"]), min_size=2),
)
def test_odd_handshakes_are_told_so(
    server: Server, start: str, key: str | None, version: str | None, more: bytes, early: bytes, usual: set[str]
) -> None:
    odd = {"start": start, "key": key, "version": version, "more": more}
    connection = Connection(server.port)
    connection.send(request(**{name: value for name, value in odd.items() if name not in usual}))
    if early:
        connection.send(early)
    connection.end_writing()
    assert connection.status() < 500
    connection.socket.close()


# --- messages


@many(300)
@given(text=cases.HELLOS)
def test_a_hello_is_welcome_or_the_end(server: Server, text: str) -> None:
    talk = Talk(server.port).open(None)
    talk.text(text)
    answer = talk.read()
    right = cases.is_right(text, "hello")
    if isinstance(answer, Welcome):
        assert right is not False, text
        assert talk.goes_on()
        talk.hang_up()
    else:
        assert right is not True, (text, answer)
        assert isinstance(answer, StreamError) and answer.fatal, answer
        assert talk.finish().code == (1009 if len(text) > MOST_TEXT else 4400)


@many(40)
@given(message=st.binary(max_size=40) | st.just(HELLO.encode()))
def test_bytes_for_a_hello_are_the_end(server: Server, message: bytes) -> None:
    talk = Talk(server.port).open(None)
    talk.binary(message)
    assert talk.finish().code == 4400


@many(200)
@given(texts=st.lists(cases.OPTIONS, min_size=1, max_size=4))
def test_options_change_or_are_told_to_be_wrong(server: Server, texts: list[str]) -> None:
    talk = Talk(server.port).open()
    for text in texts:
        talk.text(text)
        answer = talk.read()
        right = cases.is_right(text, "options")
        if isinstance(answer, OptionsChanged):
            assert right is not False, text
        else:
            assert right is not True, (text, answer)
            assert isinstance(answer, StreamError) and answer.index is None
            if answer.fatal:
                assert talk.finish().code == (1009 if len(text) > MOST_TEXT else 4400)
                return
    assert talk.goes_on()
    talk.hang_up()


@many(250)
@given(headers=st.lists(cases.HEADERS, min_size=1, max_size=4))
def test_headers_are_right_or_the_end(server: Server, headers: list[cases.RawHeader]) -> None:
    talk, last = Talk(server.port).open(), -1
    for header in headers:
        talk.binary(header.pack() + (small_jpeg() if header.cut == 16 else b""))
        if not header.is_right:
            assert talk.finish().code == 4400, header
            return
        if header.sequence <= last:
            assert talk.finish().code == 4409, header
            return
        last = header.sequence
        answer = talk.read()
        assert isinstance(answer, StreamResult) and answer.index == last
        assert answer.timestamp == pytest.approx(header.timestamp, abs=1e-6)
    assert talk.goes_on()
    talk.hang_up()


@many(200)
@given(pictures=st.lists(cases.BODIES, min_size=1, max_size=5))
def test_broken_pictures_are_told_and_the_stream_goes_on(server: Server, pictures: list[bytes]) -> None:
    talk = Talk(server.port).open()
    for picture in pictures:
        sequence = talk.picture(picture)
        answer = talk.read()
        assert isinstance(answer, (StreamResult, StreamError)), answer
        assert answer.index == sequence
        if isinstance(answer, StreamError):
            assert not answer.fatal and 400 <= answer.problem.status < 500, answer
    assert talk.goes_on()
    talk.hang_up()


def test_over_a_hundred_megapixels_are_refused_without_decoding(server: Server) -> None:
    talk = Talk(server.port).open()
    talk.picture(cases.huge_jpeg())
    answer = talk.read()
    assert isinstance(answer, StreamError) and answer.problem.type == "urn:yaop:problem:picture-too-large"
    assert talk.goes_on()
    talk.hang_up()


# --- frames


@many(250)
@given(frames=st.lists(cases.FRAMES, min_size=1, max_size=4), welcome=st.booleans())
def test_any_frames_are_answered_or_the_end(server: Server, frames: list[bytes], welcome: bool) -> None:
    talk = Talk(server.port).open(HELLO if welcome else None)
    talk.rude = True
    for frame in frames:
        talk.connection.send(frame)
    if not welcome:
        talk.text(HELLO)
    _end_or_go_on(talk)


@many(60)
@given(data=cases.OVERSIZED)
def test_a_message_over_the_limit_is_refused_by_its_head(server: Server, data: bytes) -> None:
    talk = Talk(server.port).open()
    talk.connection.send(data)
    assert talk.finish().code == 1009


@many(60)
@given(
    text=st.booleans(),
    cuts=st.lists(st.integers(0, 5000), max_size=12),
    between=st.sampled_from([b"", pack(Opcode.PING, b"x"), pack(Opcode.PONG)]),
)
def test_messages_in_parts_are_messages(server: Server, text: bool, cuts: list[int], between: bytes) -> None:
    talk = Talk(server.port).open()
    message = b'{"type": "options", "max_people": 3}'
    if text:
        talk.connection.send(cases.fragments(Opcode.TEXT, message, cuts, between))
        assert isinstance(talk.read(), OptionsChanged)
    else:
        header = cases.RawHeader(sequence=talk.expect(0))
        talk.connection.send(cases.fragments(Opcode.BINARY, header.pack() + small_jpeg(), cuts, between))
        assert isinstance(talk.read(), StreamResult)
    assert talk.goes_on()
    talk.hang_up()


@many(100)
@given(data=st.binary(max_size=80) | st.lists(cases.FRAMES, max_size=3).map(b"".join), size=st.integers(0, 80))
def test_bytes_that_stop_anywhere_are_the_end(server: Server, data: bytes, size: int) -> None:
    talk = Talk(server.port).open()
    talk.rude = True
    talk.connection.send(data[:size])
    talk.connection.end_writing()
    talk.finish()


@many(100)
@given(payload=cases.CLOSES)
def test_any_close_is_answered(server: Server, payload: bytes) -> None:
    talk = Talk(server.port).open()
    talk.rude = True
    talk.close(payload)
    talk.finish()


# --- whole conversations


def _end_or_go_on(talk: Talk) -> None:
    if talk.goes_on():
        talk.close(struct.pack("!H", 1000))
        assert talk.finish() == End(1000, "")
    talk.hang_up()


def _half_close(talk: Talk) -> None:
    talk.rude = True
    talk.connection.end_writing()
    talk.finish()


def _close(talk: Talk) -> None:
    talk.close()
    talk.finish()


_LASTS = [_end_or_go_on, _end_or_go_on, _close, _half_close, Talk.hang_up, lambda talk: talk.connection.reset()]

_CONVERSATION_HELLOS = [
    HELLO,
    '{"type": "hello", "resolution": "fast", "credits": 3, "draw": true}',
    '{"type": "hello", "resolution": 128, "encoding": "msgpack", "draw": true}',
]


@many(300)
@given(
    hello=st.sampled_from(_CONVERSATION_HELLOS),
    actions=st.lists(cases.ACTIONS, max_size=10),
    last=st.sampled_from(_LASTS),
)
def test_conversations_end_as_documented(
    server: Server, hello: str, actions: list[cases.Action], last: Callable[[Talk], None]
) -> None:
    talk = Talk(server.port).open(hello)
    for act in actions:
        act(talk)
    last(talk)


@many(60)
@given(size=st.integers(0, 400), reset=st.booleans())
def test_clients_may_vanish_at_any_point_of_opening(server: Server, size: int, reset: bool) -> None:
    connection = Connection(server.port)
    connection.send((request() + pack(Opcode.TEXT, HELLO.encode()))[:size])
    connection.reset() if reset else connection.socket.close()
