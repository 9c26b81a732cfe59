"""Bad input of a stream's client gets an error and nothing else, or ends that stream, with a code that says why."""

from __future__ import annotations

import contextlib
import json
import logging
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from service.streams.header import MOST_SEQUENCE, Header, Kind
from service.streams.messages import OptionsChanged, StreamError, StreamResult, Welcome
from service.streams.reading import MOST_TEXT
from shared.inference.engine import EngineError
from tests.photos import encode
from tests.stream_client import HEIGHT, WIDTH, Service, StreamClient, picture, streaming
from tests.websocket_bytes import Connection, Opcode, pack


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with streaming() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error and no traceback comes of what a client does, unless the test takes it out."""
    yield
    assert not [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info]


def check_end(client: StreamClient, code: int, kind: str) -> str:
    """The stream ends with a fatal error and this code. Gives the error's detail."""
    error = client.read()
    assert isinstance(error, StreamError) and error.fatal and error.index is None, error
    assert error.problem.type == f"urn:yaop:problem:{kind}"
    closed, reason = client.end()
    assert (closed, reason) == (code, f"{kind}: {error.problem.detail}".encode()[:123].decode(errors="ignore"))
    return error.problem.detail


HELLO: dict[str, tuple[str | bytes, str]] = {
    "bytes": (Header(Kind.PICTURE, 0, 0).pack() + picture(), "binary"),
    "no JSON": ("hello", "no JSON"),
    "half of it": ('{"type": "hello"', "no JSON"),
    "deep": ("[" * 10_000, "no JSON"),
    "NaN": ('{"type": "hello", "min_score": NaN}', "no JSON"),
    "list": ("[]", "no object"),
    "empty": ("", "no JSON"),
    "no type": ("{}", "None"),
    "another type": ('{"type": "options"}', "'options'"),
    "odd type": ('{"type": [{}]}', "[{}]"),
}


@pytest.mark.parametrize(("message", "told"), HELLO.values(), ids=HELLO)
def test_a_first_message_that_is_no_hello_ends_the_stream(service: Service, message: str | bytes, told: str) -> None:
    with StreamClient(service.url, hello=False) as client:
        client.socket.send(message)
        assert told in check_end(client, 4400, "bad-message")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"resolution": "huge"}, "resolution: must be fast, balanced, accurate"),
        ({"resolution": 127}, "resolution"),
        ({"resolution": 1025}, "resolution"),
        ({"min_score": -0.1}, "min_score"),
        ({"min_score": "much"}, "min_score"),
        ({"max_people": 101}, "max_people"),
        ({"credits": 0}, "credits"),
        ({"credits": 17}, "credits"),
        ({"encoding": "xml"}, "encoding: must be one of 'json' or 'msgpack'"),
        ({"colour": "red"}, "colour: is no parameter of this call"),
        ({"track": 7, "draw": "maybe"}, "draw: must be true or false"),
        ({"key": "k" * 1001}, "key"),
        ({"model": 5}, "model"),
    ],
)
def test_a_hello_with_wrong_members_ends_the_stream(service: Service, members: dict[str, Any], told: str) -> None:
    with StreamClient(service.url, hello=False) as client:
        client.text(type="hello", **members)
        assert told in check_end(client, 4400, "invalid-parameters")


def test_a_hello_for_a_model_that_is_not_loaded_ends_the_stream(service: Service) -> None:
    with StreamClient(service.url, hello=False) as client:
        client.text(type="hello", model="vgg")
        assert check_end(client, 4400, "model-not-found") == "There is no model named vgg. Loaded: discs."


def test_everything_in_a_hello_may_be_said(service: Service) -> None:
    with StreamClient(service.url, hello=False) as client:
        client.text(
            type="hello", model="discs", key="secret", credits=16, encoding="json", resolution=1024, min_score=0,
            max_people=100, track=False, smooth=False, draw=False,
        )  # fmt: skip
        assert client.expect(Welcome).credits == 16


LATER: dict[str, str] = {
    "no JSON": "options",
    "another hello": '{"type": "hello"}',
    "a result": '{"type": "result", "index": 0}',
    "no type": '{"draw": true}',
    "list": "[1]",
}


@pytest.mark.parametrize("message", LATER.values(), ids=LATER)
def test_later_text_that_is_no_options_ends_the_stream(service: Service, message: str) -> None:
    with StreamClient(service.url) as client:
        client.socket.send(message)
        check_end(client, 4400, "bad-message")


JPEG = picture()
HEADERS: dict[str, bytes] = {
    "nothing": b"",
    "too short": Header(Kind.PICTURE, 0, 0).pack()[:15],
    "no header": JPEG,
    "kind 0": b"\0" + Header(Kind.PICTURE, 0, 0).pack()[1:] + JPEG,
    "kind 3": b"\3" + Header(Kind.PICTURE, 0, 0).pack()[1:] + JPEG,
    "drawn": Header(Kind.DRAWN, 0, 0).pack() + JPEG,
    "second byte": struct.pack("!BBHId", 1, 1, 16, 0, 0) + JPEG,
    "length": struct.pack("!BBHId", 1, 0, 20, 0, 0) + bytes(4) + JPEG,
    "little-endian": struct.pack("<BBHId", 1, 0, 16, 0, 0) + JPEG,
    "time NaN": struct.pack("!BBHId", 1, 0, 16, 0, float("nan")) + JPEG,
    "time infinite": struct.pack("!BBHId", 1, 0, 16, 0, float("inf")) + JPEG,
    "time negative": struct.pack("!BBHId", 1, 0, 16, 0, -0.001) + JPEG,
}


@pytest.mark.parametrize("message", HEADERS.values(), ids=HEADERS)
def test_a_bad_header_ends_the_stream(service: Service, message: bytes) -> None:
    with StreamClient(service.url) as client:
        client.socket.send(message)
        check_end(client, 4400, "bad-message")


@pytest.mark.parametrize("second", [5, 4, 0])
def test_sequence_numbers_have_to_grow(service: Service, second: int) -> None:
    with StreamClient(service.url) as client:
        client.look(5)
        client.send(second)
        check_end(client, 4409, "bad-sequence")


def test_sequence_numbers_and_times_may_be_anything_else(service: Service) -> None:
    with StreamClient(service.url) as client:
        for index, timestamp in ((0, 5.0), (1, 0.0), (1000, 1e10), (MOST_SEQUENCE, 1e-300)):
            result = client.look(index, timestamp=timestamp)
            assert (result.index, result.timestamp) == (index, round(timestamp, 6))


def bomb(width: int, height: int) -> bytes:
    """A WebP of a hundred bytes that claims to be this large."""
    size = (height - 1) << 14 | (width - 1)
    data = b"\x2f" + struct.pack("<I", size) + bytes(20)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def png() -> bytes:
    """A PNG of one pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))

    header = struct.pack("!IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")


BAD_PICTURES: dict[str, tuple[bytes, str, int]] = {
    "empty": (b"", "empty-image", 400),
    "text": (b"I am no picture", "unsupported-image", 415),
    "half": (JPEG[: len(JPEG) // 2], "truncated-image", 400),
    "damaged": (bomb(10, 10), "corrupt-image", 400),
    "PNG": (png(), "unsupported-image", 415),
    "BMP": (encode(np.zeros((2, 2, 3), np.uint8), "bmp"), "unsupported-image", 415),
    "GIF": (b"GIF89a" + bytes(20), "unsupported-image", 415),
    "100 megapixels": (bomb(10_000, 10_000), "picture-too-large", 413),
}


@pytest.mark.parametrize(("data", "kind", "status"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_bad_picture_gets_an_error_and_the_stream_goes_on(
    service: Service, data: bytes, kind: str, status: int
) -> None:
    with StreamClient(service.url) as client:
        client.look(0)
        client.send(1, data)
        error = client.expect(StreamError)
        assert (error.index, error.fatal, error.problem.status) == (1, False, status)
        assert error.problem.type == f"urn:yaop:problem:{kind}"
        assert error.problem.request_id == client.welcome.id
        assert (error.problem.model_extra or {})["accepted"] == ["image/jpeg", "image/webp"]
        assert client.look(2).people[0].id == 1


def test_formats_that_are_accepted_are_named(service: Service) -> None:
    with StreamClient(service.url) as client:
        client.send(0, png())
        assert client.expect(StreamError).problem.detail == (
            "PNG images are not accepted here (accepted: JPEG and WebP)."
        )


def test_pixels_are_limited_exactly() -> None:
    with streaming(max_stream_pixels=WIDTH * HEIGHT) as service, StreamClient(service.url) as client:
        assert client.welcome.limits.frame_pixels == WIDTH * HEIGHT
        assert client.look(0).people
        client.send(1, picture(width=WIDTH + 1))
        assert client.expect(StreamError).problem.type == "urn:yaop:problem:picture-too-large"


def padded(size: int) -> bytes:
    """The picture as a JPEG of this many bytes: what follows its end is ignored."""
    return JPEG + bytes(size - len(JPEG))


def test_bytes_of_a_picture_are_limited_exactly() -> None:
    limit = len(JPEG) + 1000
    with streaming(max_stream_frame_bytes=limit) as service, StreamClient(service.url) as client:
        assert client.welcome.limits.frame_bytes == limit
        assert client.look(0, padded(limit)).people
        client.send(1, padded(limit + 1))
        assert client.end()[0] == 1009


def test_a_message_over_the_limit_is_told_so_however_large_it_is() -> None:
    with streaming() as service:
        connection = Connection(service.port)
        assert connection.handshake() == 101
        connection.send(pack(Opcode.TEXT, b'{"type": "hello"}'))
        assert connection.next() is not None
        connection.socket.sendall(pack(Opcode.BINARY, bytes(20_000_000)))  # is not cut short by a reset
        frame = connection.next()
        assert frame is not None and frame.opcode == Opcode.CLOSE
        assert struct.unpack("!H", frame.payload[:2]) == (1009,)
        assert connection.next() is None


def test_a_picture_in_many_pieces_is_one_picture(service: Service) -> None:
    with StreamClient(service.url) as client:
        whole = Header(Kind.PICTURE, 0, 0).pack() + JPEG
        client.socket.send(whole[i : i + 10] for i in range(0, len(whole), 10))
        assert client.expect(StreamResult).people


def test_long_text_ends_the_stream(service: Service) -> None:
    start = '{"type": "options"'
    with StreamClient(service.url) as client:
        client.socket.send(start + " " * (MOST_TEXT - len(start) - 1) + "}")
        client.expect(OptionsChanged)
        client.socket.send(start + " " * (MOST_TEXT - len(start)) + "}")
        check_end(client, 1009, "message-too-large")


def test_more_pictures_under_way_than_credits_end_the_stream() -> None:
    with streaming() as service, StreamClient(service.url, credits=3) as client:
        service.engine.gate.clear()
        for index in range(3):
            client.send(index)
        client.settle()
        client.send(3)
        detail = check_end(client, 4429, "too-many-pictures")
        assert detail.startswith("3 pictures are under way")


def test_credits_come_back_with_results_errors_and_skips() -> None:
    with streaming() as service, StreamClient(service.url, credits=2) as client:
        for index in range(0, 12, 2):
            client.send(index)
            client.send(index + 1, b"no picture")
            answered = 0
            while answered < 2:
                message = client.read()
                assert isinstance(message, (StreamResult, StreamError)) and message.index is not None
                answered += 1 + len(message.skipped)
        client.send(100)
        assert client.expect(StreamResult).index == 100
        assert service.engine.calls


def test_ten_thousand_pictures_at_once_end_the_stream_only(service: Service) -> None:
    with StreamClient(service.url) as other:
        connection = Connection(service.port)
        assert connection.handshake() == 101
        connection.send(pack(Opcode.TEXT, b'{"type": "hello"}'))
        flood = b"".join(pack(Opcode.BINARY, Header(Kind.PICTURE, i, 0).pack()) for i in range(10_000))
        connection.send(flood)
        frames = []
        while (frame := connection.next()) is not None and frame.opcode != Opcode.CLOSE:
            frames.append(frame)
        assert frame is not None and struct.unpack("!H", frame.payload[:2]) == (4429,)
        assert len(frames) < 10
        assert other.look(0).people


def test_fifty_texts_at_once_are_taken_and_no_more(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streams.exchange.TEXT_RATE", 1e-6)
    with StreamClient(service.url) as client:
        for _ in range(50):
            client.text(type="options")
        for _ in range(50):
            client.expect(OptionsChanged)
        client.text(type="options")
        check_end(client, 4429, "too-many-messages")


def test_pings_are_answered_and_a_flood_of_them_ends_the_stream(service: Service) -> None:
    connection = Connection(service.port)
    assert connection.handshake() == 101
    connection.send(pack(Opcode.PING, b"1"))
    frame = connection.next()
    assert frame is not None and frame == (Opcode.PONG, b"1")
    connection.send(pack(Opcode.PING) * 5000)
    while (frame := connection.next()) is not None and frame.opcode == Opcode.PONG:
        pass
    assert frame is not None and frame.opcode == Opcode.CLOSE
    assert struct.unpack("!H", frame.payload[:2]) == (4429,)


@pytest.mark.parametrize(
    "data",
    [pack(Opcode.TEXT, b"\xff"), pack(Opcode.TEXT, b"\xc3", final=False) + pack(Opcode.MORE, b"x")],
    ids=["whole", "in pieces"],
)
def test_text_that_is_not_utf_8_ends_the_stream(service: Service, data: bytes) -> None:
    connection = Connection(service.port)
    assert connection.handshake() == 101
    connection.send(data)
    frame = connection.next()
    assert frame is not None and frame.opcode == Opcode.CLOSE
    assert struct.unpack("!H", frame.payload[:2]) == (1007,)
    assert connection.next() is None


def test_utf_8_in_pieces_is_text(service: Service) -> None:
    connection = Connection(service.port)
    assert connection.handshake() == 101
    text = json.dumps({"type": "hello", "key": "clé"}, ensure_ascii=False).encode()
    cut = text.index("é".encode()) + 1
    connection.send(pack(Opcode.TEXT, text[:cut], final=False) + pack(Opcode.MORE, text[cut:]))
    frame = connection.next()
    assert frame is not None and frame.opcode == Opcode.TEXT and b"welcome" in frame.payload


@pytest.mark.parametrize(
    "data",
    [
        pack(Opcode.TEXT, b"{}", masked=False),
        pack(Opcode.TEXT, b"{}", reserved=4),
        pack(7, b"{}"),
        pack(Opcode.MORE, b"{}"),
        pack(Opcode.PING, b"{}", final=False),
        pack(Opcode.TEXT, b"{", final=False) + pack(Opcode.TEXT, b"}"),
        pack(Opcode.CLOSE, b"\x03"),
        pack(Opcode.CLOSE, struct.pack("!H", 999)),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_websocket_ends_the_connection(service: Service, data: bytes) -> None:
    connection = Connection(service.port)
    assert connection.handshake() == 101
    connection.send(data)
    frame = connection.next()
    assert frame is not None and frame.opcode == Opcode.CLOSE
    assert struct.unpack("!H", frame.payload[:2])[0] in (1002, 1007)
    assert connection.next() is None


def test_no_hello_for_too_long_ends_the_stream(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streams.stream.HELLO_SECONDS", 0.1)
    with StreamClient(service.url, hello=False) as client:
        assert check_end(client, 4408, "timeout") == "There was no hello within 0.1 seconds."


def test_no_message_for_too_long_ends_the_stream() -> None:
    with streaming(stream_idle_timeout=0.3) as service:
        with StreamClient(service.url) as client:
            client.look(0)
            assert check_end(client, 4408, "timeout") == "There was no message for 0.3 seconds."
        connection = Connection(service.port)
        assert connection.handshake() == 101
        connection.send(pack(Opcode.TEXT, b'{"type": "hello"}') + pack(Opcode.BINARY, bytes(100))[:50])
        while (frame := connection.next()) is not None and frame.opcode != Opcode.CLOSE:
            pass
        assert frame is not None and struct.unpack("!H", frame.payload[:2]) == (4408,)


def test_a_client_that_answers_no_ping_is_let_go() -> None:
    with streaming(ping=0.1) as service:
        connection = Connection(service.port)
        assert connection.handshake() == 101
        connection.send(pack(Opcode.TEXT, b'{"type": "hello"}'))
        opcodes: list[int] = []
        while (frame := connection.next()) is not None:
            opcodes.append(frame.opcode)
            if frame.opcode == Opcode.CLOSE:
                assert struct.unpack("!H", frame.payload[:2]) == (1011,)
        assert opcodes == [Opcode.TEXT, Opcode.PING, Opcode.CLOSE]
        service.wait_for_streams(0)


def test_a_client_that_does_not_read_is_let_go() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    with streaming(stream_send_timeout=0.2, send_buffer=8192) as service, StreamClient(service.url) as other:
        connection = Connection(service.port)
        assert connection.handshake() == 101
        connection.send(pack(Opcode.TEXT, b'{"type": "hello", "credits": 16, "draw": true}'))
        for index in range(16):  # some of them are skipped, and two are more than the sockets hold
            connection.send(pack(Opcode.BINARY, Header(Kind.PICTURE, index, 0).pack() + encode(noise, "jpeg")))
            assert other.look(index).people
        service.wait_for_streams(1)
        assert other.look(16).people
        text = service.runtime.metrics.render().decode()
        assert 'yaop_stream_ends_total{code="4408"} 1.0' in text


def test_an_engine_that_fails_costs_one_picture(caplog: pytest.LogCaptureFixture) -> None:
    with streaming() as service, StreamClient(service.url) as client:
        service.engine.failure = EngineError("no")
        client.send(0)
        error = client.expect(StreamError)
        assert (error.index, error.fatal) == (0, False)
        assert error.problem.type == "urn:yaop:problem:engine-failed"
        service.engine.failure = None
        assert client.look(1).people
    caplog.clear()


def test_a_full_service_costs_one_picture_and_says_when_to_try_again() -> None:
    with streaming(queue_size=1) as service, StreamClient(service.url) as client:
        service.engine.gate.clear()
        service.engine.entered.clear()
        with ThreadPoolExecutor(1) as pool:
            post = pool.submit(httpx.post, f"{service.url}/pose", content=JPEG, timeout=60)
            assert service.engine.entered.wait(10)
            client.send(0)
            error = client.expect(StreamError)
            assert (error.index, error.problem.type) == (0, "urn:yaop:problem:queue-full")
            assert (error.problem.model_extra or {})["retry_after"] == 1.0
            service.engine.gate.set()
            assert post.result().status_code == 200
        assert client.look(1).people


def test_streams_leave_room_for_others_and_take_turns() -> None:
    with (
        streaming(queue_size=4, workers=1) as service,  # so there are two turns
        contextlib.ExitStack() as closing,
        ThreadPoolExecutor(1) as pool,
    ):
        clients = [closing.enter_context(StreamClient(service.url)) for _ in range(6)]
        service.engine.gate.clear()
        for client in clients:
            client.send(0)
            client.settle()
        post = pool.submit(httpx.post, f"{service.url}/pose", content=JPEG, timeout=60)
        clients[5].send(1)  # newer than that which still waits
        clients[5].settle()
        service.engine.gate.set()
        assert post.result().status_code == 200
        assert [client.expect(StreamResult).index for client in clients] == [0, 0, 0, 0, 0, 1]


def test_a_picture_that_takes_too_long_gets_an_error() -> None:
    with streaming(deadline=0.2) as service, StreamClient(service.url) as client:
        service.engine.gate.clear()
        client.send(0)
        assert client.expect(StreamError).problem.type == "urn:yaop:problem:deadline-exceeded"
        service.engine.gate.set()


def test_a_bug_in_a_picture_costs_that_picture_and_is_logged(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with StreamClient(service.url) as client:
        with monkeypatch.context() as broken:
            broken.setattr("service.streams.looking.frame_from_people", None)
            client.send(0)
            error = client.expect(StreamError)
        assert (error.index, error.fatal, error.problem.status) == (0, False, 500)
        assert "TypeError" not in error.model_dump_json()
        assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]
        assert client.look(1).people
    caplog.clear()


def test_a_bug_in_a_stream_ends_it_and_is_logged_once(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with StreamClient(service.url) as client:
        monkeypatch.setattr("service.streams.exchange.read_options", None)
        client.text(type="options")
        check_end(client, 1011, "internal-error")
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]
    caplog.clear()


def test_a_bug_before_the_stream_is_a_500(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.api.stream.is_welcome", None)
    assert Connection(service.port).handshake() == 500
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]
    caplog.clear()


def test_a_bug_that_a_stream_does_not_catch_closes_it(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.api.stream.Stream", None)
    with StreamClient(service.url, hello=False) as client:
        assert client.end() == (1011, "internal-error")
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]
    caplog.clear()
