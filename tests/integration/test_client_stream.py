"""The Python client's streams: against a scripted service for all that may happen, and against a real one."""

from __future__ import annotations

import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.client import Client, ClientError, PictureError, StreamClosed, StreamTimeout
from service.client import stream_socket as stream_socket_module
from service.client.stream import PoseStream
from service.client.stream_desk import Desk
from shared.errors import YaopError
from tests import photos
from tests.fake_engine import discs, person_at
from tests.fake_stream_server import Behaviour, Talk, stream_server
from tests.server_process import FAKE, ROOT, Server, running

FORBIDDEN = {"type": "urn:yaop:problem:foreign-origin", "title": "Foreign origin", "status": 403, "detail": "Not here."}


@contextmanager
def streaming(behaviour: Behaviour, **options: Any) -> Iterator[PoseStream]:
    with stream_server(behaviour) as url, Client(url).stream(**options) as stream:
        yield stream


def press_ctrl_c(after: float) -> None:
    main = threading.main_thread().ident
    assert main
    threading.Timer(after, lambda: signal.pthread_kill(main, signal.SIGINT)).start()


def opening(url: str, **options: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        Client(url, key="secret").stream(**options)
    return caught.value


def test_the_hello_has_what_was_given_and_the_key() -> None:
    said: list[Talk] = []

    def behave(talk: Talk) -> None:
        talk.welcome()
        said.append(talk)
        talk.until_gone()

    with stream_server(behave) as url:
        with Client(url, key="secret").stream(resolution="fast", track=False, credits=3) as stream:
            assert stream.welcome.credits == 3
            assert stream.options.resolution == 256
            assert stream.welcome.topology.keypoints == ("nose", "neck")
        Client(url).stream().close()
    assert said[0].hello == {"type": "hello", "key": "secret", "resolution": "fast", "track": False, "credits": 3}
    assert said[0].connection.request is not None
    assert said[0].connection.request.headers["Authorization"] == "Bearer secret"
    assert said[1].hello == {"type": "hello"}


def test_pictures_go_out_with_a_header_and_come_back_as_results() -> None:
    talks: list[Talk] = []

    def behave(talk: Talk) -> None:
        talks.append(talk)
        talk.answer_all()

    before = time.monotonic()
    with streaming(behave) as stream:
        assert stream.offer(b"first", 0.25) == 0
        result = stream.receive()
        assert result is not None and (result.index, result.people, result.picture) == (0, [], None)
        assert stream.send(b"second") == 1
        stream.receive()
    assert talks[0].pictures[0] == (bytes.fromhex("01000010 00000000 3fd0000000000000"), b"first")
    header, content = talks[0].pictures[1]
    assert content == b"second"
    assert 0 < struct.unpack(">d", header[8:])[0] <= time.monotonic() - before


@pytest.mark.parametrize("how", ["result", "error", "skipped"])
def test_a_credit_is_free_again_once_its_picture_is_acknowledged(how: str) -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        assert [talk.picture(), talk.picture()] == [0, 1]
        if how == "skipped":
            talk.result(1, skipped=[0], dropped=1)
        else:
            talk.result(0) if how == "result" else talk.error("corrupt-image", "No JPEG.", 0)
        talk.result(talk.picture())
        talk.until_gone()

    with streaming(behave) as stream:
        assert [stream.offer(b"0"), stream.offer(b"1"), stream.offer(b"2")] == [0, 1, None]
        assert stream.send(b"2", timeout=20) == 2
        assert stream.dropped == (1 if how == "skipped" else 0)
        expected: list[Any] = {"result": [0, 2], "skipped": [1, 2], "error": ["corrupt", 2]}[how]
        for index in expected:
            if index == "corrupt":
                with pytest.raises(PictureError, match="Corrupt image: No JPEG") as caught:
                    stream.receive()
                assert (caught.value.index, caught.value.passing) == (0, False)
            else:
                result = stream.receive()
                assert result is not None and result.index == index
        assert stream.under_way == (0 if how == "skipped" else 1)


def test_sending_waits_for_a_credit_no_longer_than_it_is_told() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.until_gone()

    with streaming(behave, credits=1) as stream:
        stream.send(b"0")
        with pytest.raises(StreamTimeout, match="1 pictures are under way"):
            stream.send(b"1", timeout=0.01)
        assert stream.receive(timeout=0.01) is None
        assert stream.receive(timeout=0) is None


def test_one_thread_sends_while_another_receives() -> None:
    with streaming(Talk.answer_all) as stream:

        def feed() -> None:
            for number in range(300):
                stream.send(b"picture %d" % number)
            stream.finish()

        sender = threading.Thread(target=feed)
        sender.start()
        assert [result.index for result in stream] == list(range(300))
        sender.join(20)
        assert stream.under_way == 0


def test_sending_needs_nobody_who_receives_and_the_newest_results_stay() -> None:
    with streaming(Talk.answer_all) as stream:
        for _ in range(100):
            stream.send(b"picture", timeout=20)
        assert stream.estimate(b"last").index == 100
        assert stream.untaken == 36
        stream.finish()
        assert [result.index for result in stream] == list(range(36, 100))


def test_nothing_is_sent_after_the_finish() -> None:
    with streaming(Talk.answer_all) as stream:
        stream.estimate(b"0")
        stream.finish()
        with pytest.raises(StreamClosed):
            stream.send(b"1")
        assert list(stream) == []


def test_estimating_gives_the_result_of_that_picture_and_leaves_others() -> None:
    with streaming(Talk.answer_all) as stream:
        stream.send(b"0")
        assert stream.estimate(b"1").index == 1
        assert stream.estimate(b"2", timeout=20).index == 2
        stream.finish()
        assert [result.index for result in stream] == [0]


def test_estimating_fails_when_the_picture_is_no_picture_or_passed_over_or_takes_too_long() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.error("corrupt-image", "No JPEG.", talk.picture())
        talk.picture()
        arrived.set()
        talk.result(talk.picture(), skipped=[1], dropped=1)
        late = talk.picture()
        asked.wait(20)
        talk.result(late)
        talk.until_gone()

    arrived, asked = threading.Event(), threading.Event()
    with streaming(behave) as stream:
        with pytest.raises(PictureError, match="No JPEG"):
            stream.estimate(b"text")
        outcomes: list[Exception] = []

        def estimate() -> None:
            with pytest.raises(PictureError, match="Passed over") as caught:
                stream.estimate(b"1")
            outcomes.append(caught.value)

        other = threading.Thread(target=estimate)
        other.start()
        assert arrived.wait(20)
        assert stream.estimate(b"2").index == 2
        other.join(20)
        assert len(outcomes) == 1
        with pytest.raises(StreamTimeout):
            stream.estimate(b"3", timeout=0.05)
        asked.set()
        result = stream.receive(20)
        assert result is not None and result.index == 3


def test_a_result_that_comes_just_as_its_time_is_over_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    forget, asked = Desk.forget, threading.Event()

    def forget_late(desk: Desk, sequence: int) -> None:
        asked.set()
        ends = time.monotonic() + 20
        while desk.under_way and time.monotonic() < ends:
            time.sleep(0.002)
        forget(desk, sequence)

    def behave(talk: Talk) -> None:
        talk.welcome()
        sequence = talk.picture()
        asked.wait(20)
        talk.result(sequence)
        talk.until_gone()

    monkeypatch.setattr(Desk, "forget", forget_late)
    with streaming(behave) as stream:
        assert stream.estimate(b"0", timeout=0.05).index == 0
        assert stream.receive(0) is None


def test_no_failure_of_a_stream_tells_the_password_of_its_address() -> None:
    with stream_server(Talk.answer_all, path="/elsewhere") as url:
        messages = [str(opening(with_password(url)))]
    messages += [str(opening(with_password(url))), str(opening(with_password(url).replace("user:secret", "secret")))]
    with stream_server(Talk.answer_all, subprotocol=False) as url:
        messages += [str(opening(with_password(url)))]
    with stream_server(Talk.until_gone) as url:
        messages += [str(opening(with_password(url), open_timeout=0.1))]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        messages += [str(opening(with_password(url), open_timeout=0.05))]
    for message in messages:
        assert "secret" not in message
        assert "127.0.0.1" in message


def with_password(url: str) -> str:
    return url.replace("//", "//user:secret@")


def test_a_service_that_hangs_writes_nothing_to_the_terminal() -> None:
    """Pings that fail are an exception for who receives, and no traceback for who runs the program."""
    script = (
        "import sys\n"
        "from functools import partial\n"
        "from websockets.sync import client\n"
        "def fail(*_, **__):\n"
        "    raise TimeoutError('timed out')\n"
        "client.ClientConnection.ping = fail\n"
        "client.connect = partial(client.connect, ping_interval=0.02)\n"
        "from service.client import Client\n"
        "with Client(sys.argv[1]).stream() as stream:\n"
        "    stream._socket._connection.keepalive_thread.join(20)\n"
        "    print(stream._socket._connection.keepalive_thread.is_alive())\n"
    )
    with stream_server(Talk.answer_all) as url:
        done = subprocess.run(
            [sys.executable, "-c", script, url], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_iterating_goes_on_after_a_picture_that_was_not_looked_at() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.error("queue-full", "Come back.", talk.picture(), retry_after=1)
        talk.result(talk.picture())
        talk.until_gone()

    with streaming(behave) as stream:
        stream.send(b"0")
        stream.send(b"1")
        with pytest.raises(PictureError, match="Come back"):
            next(stream)
        assert next(stream).index == 1


def test_options_change_while_pictures_are_under_way() -> None:
    changes: list[dict[str, Any]] = []

    def behave(talk: Talk) -> None:
        talk.welcome()
        index = talk.picture()
        talk.result(index)
        changes.append(talk.change())
        talk.result(talk.picture())
        talk.until_gone()

    with streaming(behave) as stream:
        stream.send(b"0")
        assert stream.change(resolution=512, track=False).resolution == 512
        assert (stream.options.resolution, stream.options.track) == (512, False)
        stream.send(b"1")
        indices = [result.index for result in (stream.receive(20), stream.receive(20)) if result]
        assert indices == [0, 1]
    assert changes == [{"resolution": 512, "track": False}]


def test_wrong_options_change_nothing() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.connection.recv()
        talk.error("invalid-options", "min_score: must be at most 1")
        talk.change()
        talk.until_gone()

    with streaming(behave) as stream:
        before = stream.options
        with pytest.raises(ClientError, match="Invalid options: min_score: must be at most 1"):
            stream.change(min_score=7)
        assert stream.options == before
        assert stream.change(min_score=0.5).min_score == 0.5


def test_a_late_answer_is_not_that_of_the_next_change() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        first, second = talk.connection.recv(), talk.connection.recv()
        assert first != second
        talk.error("invalid-options", "the first one")
        talk.say("options", options=talk.options | {"max_people": 2})
        talk.until_gone()

    with streaming(behave) as stream:
        with pytest.raises(StreamTimeout):
            stream.change(max_people=0, timeout=0.05)
        assert stream.change(max_people=2).max_people == 2


def test_drawn_pictures_belong_to_their_results() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.result(talk.picture())
        talk.change()
        talk.result(talk.picture())
        talk.change()
        talk.result(talk.picture())
        last = talk.picture()
        talk.options["draw"] = False  # no picture comes, as when drawing failed
        talk.result(last)
        talk.until_gone()

    with streaming(behave, draw=True) as stream:
        assert stream.estimate(b"A").picture == b"drawn A"
        stream.change(draw=False)
        assert stream.estimate(b"B").picture is None
        stream.change(draw=True)
        assert stream.estimate(b"C").picture == b"drawn C"
        stream.send(b"D")
        stream.close()
        assert [result.picture for result in stream] in ([], [None])


@pytest.mark.parametrize(
    ("code", "passing"),
    [
        (1009, False),
        (1011, True),
        (1012, True),
        (1013, True),
        (4400, False),
        (4408, True),
        (4409, False),
        (4429, False),
    ],
)
def test_a_stream_that_the_service_closes_is_over_for_a_reason(code: int, passing: bool) -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.result(talk.picture())
        talk.close(code, "why: because")

    with streaming(behave) as stream:
        stream.send(b"0")
        with pytest.raises(StreamClosed, match="because") as caught:
            send_for_ever(stream)
        assert (caught.value.code, caught.value.reason, caught.value.passing) == (code, "why: because", passing)
        assert next(stream).index == 0
        for call in (
            stream.receive,
            lambda: next(stream),
            lambda: stream.offer(b"3"),
            lambda: stream.change(draw=True),
        ):
            with pytest.raises(StreamClosed) as caught:
                call()
            assert caught.value.code == code


def test_the_error_before_the_end_says_why() -> None:
    def behave(talk: Talk) -> None:
        talk.connection.recv()
        talk.error("too-many-streams", "There are 100 streams.", fatal=True)
        talk.close(1013, "too-many-streams: There are")

    with stream_server(behave) as url:
        error = opening(url)
    assert isinstance(error, StreamClosed)
    assert str(error) == "Too many streams: There are 100 streams. (code 1013)"
    assert error.problem is not None
    assert (error.passing, error.problem.type) == (True, "urn:yaop:problem:too-many-streams")


def test_a_connection_that_breaks_may_come_back() -> None:
    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.picture()
        talk.vanish()

    with streaming(behave) as stream:
        with pytest.raises(StreamClosed, match="Connection lost") as caught:
            stream.estimate(b"0")
        assert (caught.value.code, caught.value.passing) == (1006, True)
        assert stream.under_way == 0


def test_a_refusal_is_the_problem_that_the_service_answers_with() -> None:
    with stream_server(Talk.answer_all, refusal=(403, FORBIDDEN)) as url:
        error = opening(url)
    assert str(error) == "Foreign origin: Not here."
    assert error.problem is not None
    assert (error.status, error.problem.type, error.passing) == (403, FORBIDDEN["type"], False)
    with stream_server(Talk.answer_all, refusal=(503, "starting")) as url:
        assert opening(url).passing


def test_what_is_no_service_with_streams_is_said_so() -> None:
    with stream_server(Talk.answer_all, path="/elsewhere") as url:
        assert "answered 404: nothing here" in str(opening(url))
    with stream_server(Talk.answer_all, subprotocol=False) as url:
        error = opening(url)
        assert "does not speak yaop.stream.v1" in str(error)
        assert not error.passing
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert "too long" in str(opening(url, open_timeout=0.05))
    error = opening(url)
    assert "Connection refused" in str(error)
    assert error.passing


def test_a_service_that_never_welcomes_is_not_waited_for() -> None:
    def behave(talk: Talk) -> None:
        talk.until_gone()

    with stream_server(behave) as url:
        assert isinstance(opening(url, open_timeout=0.1), StreamTimeout)


def test_no_key_follows_a_redirect() -> None:
    heard: list[str] = []

    def behave(talk: Talk) -> None:
        heard.extend(str(message) for message in talk.connection)

    with stream_server(behave) as elsewhere:
        address = f"{elsewhere.replace('http', 'ws')}/stream"
        with stream_server(behave, refusal=(307, "gone"), location=address) as url:
            error = opening(url)
    assert "its own address" in str(error) or "redirects to" in str(error)
    assert not error.passing
    assert heard == []


@pytest.mark.parametrize("timestamp", [-1.0, float("nan"), float("inf"), 1e11])
def test_a_time_that_is_none_is_not_sent(timestamp: float) -> None:
    with streaming(Talk.answer_all) as stream:
        with pytest.raises(YaopError, match="timestamp"):
            stream.send(b"0", timestamp)
        assert stream.estimate(b"0", 1.0).index == 0


def test_a_picture_over_the_limit_is_not_sent() -> None:
    with streaming(Talk.answer_all) as stream:
        with pytest.raises(PictureError, match="4000001 bytes; at most 4000000") as caught:
            stream.offer(bytes(4_000_001))
        assert (caught.value.index, caught.value.passing) == (None, False)
        assert stream.estimate(bytes(4_000_000)).index == 0


def test_what_a_newer_service_adds_is_ignored() -> None:
    def behave(talk: Talk) -> None:
        talk.options["blur"] = 3
        talk.welcome(weather="fine")
        talk.say("greeting", text="hello")
        talk.connection.send(bytes.fromhex("02000010 00000007 0000000000000000") + b"of no result")
        talk.result(talk.picture(), mood="good")
        talk.until_gone()

    with streaming(behave) as stream:
        assert stream.estimate(b"0").index == 0


@pytest.mark.parametrize("message", ["{", "[]", '{"type": "result"}', '{"no": "type"}', b"", b"\x07" + bytes(30)])
def test_what_is_no_message_ends_the_stream(message: str | bytes) -> None:
    ends: list[int | None] = []

    def behave(talk: Talk) -> None:
        talk.welcome()
        talk.connection.send(message)
        closed = talk.until_gone()
        ends.append(closed.rcvd.code if closed.rcvd else None)

    with streaming(behave) as stream:
        with pytest.raises(StreamClosed, match="not what this version of YAOP expects") as caught:
            stream.receive()
        assert (caught.value.code, caught.value.passing) == (1002, False)
    assert ends == [1002]


def test_closing_is_polite_and_may_be_done_again_by_any_thread() -> None:
    ends: list[int | None] = []

    def behave(talk: Talk) -> None:
        talk.welcome()
        closed = talk.until_gone()
        ends.append(closed.rcvd.code if closed.rcvd else None)

    with streaming(behave) as stream:
        iterating = threading.Thread(target=lambda: ends.extend(result.index for result in stream))
        iterating.start()
        stream.close()
        stream.close()
        iterating.join(20)
        assert not iterating.is_alive()
        with pytest.raises(StreamClosed, match="closed here") as caught:
            stream.send(b"0")
        assert (caught.value.code, caught.value.passing) == (1000, False)
    assert ends == [1000]


def send_for_ever(stream: PoseStream) -> None:
    while True:
        stream.send(bytes(4_000_000))


@contextmanager
def stuck_stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[PoseStream]:
    """The service reads nothing after the hello, so that large pictures stay half in the socket."""
    monkeypatch.setattr(stream_socket_module, "_CLOSE_SECONDS", 0.1)
    done = threading.Event()

    def behave(talk: Talk) -> None:
        talk.welcome()
        with talk.connection.recv_flow_control:
            done.wait(30)

    with stream_server(behave) as url, ExitStack() as last:
        last.callback(done.set)
        yield Client(url).stream(credits=16)


def test_closing_ends_a_picture_that_is_stuck_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with stuck_stream(monkeypatch) as stream:
        failures: list[StreamClosed] = []

        def feed() -> None:
            with pytest.raises(StreamClosed) as caught:
                send_for_ever(stream)
            failures.append(caught.value)

        sender = threading.Thread(target=feed)
        sender.start()
        sender.join(0.5)
        assert sender.is_alive()
        began = time.monotonic()
        stream.close()
        sender.join(20)
        assert time.monotonic() - began < 5
        assert [error.code for error in failures] == [1000]


def test_ctrl_c_ends_a_picture_that_is_stuck_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with stuck_stream(monkeypatch) as stream:
        press_ctrl_c(after=0.5)
        with pytest.raises(KeyboardInterrupt), stream:
            send_for_ever(stream)
        assert not stream._reader.is_alive()


def test_ctrl_c_while_waiting_leaves_the_stream_as_it_is() -> None:
    with streaming(Talk.answer_all) as stream:
        press_ctrl_c(after=0.05)
        with pytest.raises(KeyboardInterrupt):
            stream.receive()
        assert stream.estimate(b"0").index == 0


@pytest.mark.parametrize(
    "form", ["{url}/base", "{url}/base/", "{socket}/base/stream", "{socket}/base/stream/", "{socket}/base"]
)
def test_a_service_may_be_mounted_at_a_folder_or_be_named_by_its_stream(form: str) -> None:
    with stream_server(Talk.answer_all, path="/base/stream") as url:
        client = Client(form.format(url=url, socket=url.replace("http", "ws")))
        assert client.url == f"{url}/base"
        with client.stream() as stream:
            assert stream.estimate(b"0").index == 0


def test_streams_go_over_tls_to_those_whom_http_calls_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(["openssl", "req", *made, *files, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with stream_server(Talk.answer_all, ssl=context) as url:
        assert "certificate" in str(opening(url))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with Client(url.replace("https", "wss") + "/stream").stream() as stream:
            assert stream.estimate(b"0").index == 0


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        failed: list[ClientError] = []
        asking = threading.Thread(target=lambda: failed.append(opening("http://service.test", open_timeout=20)))
        asking.start()
        connection, _ = proxy.accept()
        with connection:
            assert connection.recv(100).startswith(b"CONNECT service.test:80 HTTP/1.1")
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        asking.join(20)
    assert "No answer: ws://service.test/stream: " in str(failed[0])


def test_the_client_is_light_and_streams_need_nothing_of_the_server() -> None:
    script = """
import sys
server = {"fastapi", "starlette", "uvicorn", "dbos", "msgpack", "sqlalchemy", "prometheus_client", "pydantic_settings"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in server:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from service.client import Client
heavy = {"websockets", "av", "scipy", "service.client.stream"} & set(sys.modules)
assert not heavy, heavy
with Client(sys.argv[1]).stream() as stream:
    print(stream.estimate(b"0").index)
"""
    with stream_server(Talk.answer_all) as url:
        done = subprocess.run(
            [sys.executable, "-c", script, url], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.stdout.strip() == "0", done.stderr


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with running(*FAKE, max_streams="3") as server:
        yield server


def picture_of_a_person(x: float) -> bytes:
    return photos.encode(discs(256, 192, person_at(x, 100)), "jpeg")


def test_people_keep_their_ids_over_a_real_stream(service: Server) -> None:
    with Client(service.url).stream(resolution="fast", smooth=False) as stream:
        results = [stream.estimate(picture_of_a_person(100 + number), number / 30) for number in range(5)]
    necks = [result.people[0].keypoints["neck"] for result in results]
    assert [round(neck.x) for neck in necks if neck] == pytest.approx([100, 101, 102, 103, 104], abs=2)
    assert len({result.people[0].id for result in results}) == 1
    assert results[0].people[0].id is not None
    assert [result.timestamp for result in results] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30], abs=1e-6)
    assert (stream.welcome.model.name, stream.welcome.options.resolution) == ("discs", 256)


def test_every_picture_of_a_real_stream_is_answered_or_passed_over(service: Server) -> None:
    picture = picture_of_a_person(100)
    with Client(service.url).stream(resolution="fast", credits=16) as stream:
        for _ in range(60):
            stream.send(picture, timeout=20)
        stream.finish()
        results = list(stream)
        skipped = [index for result in results for index in result.skipped]
        assert sorted([result.index for result in results] + skipped) == list(range(60))
        assert stream.dropped == len(skipped)


def test_a_real_service_draws_changes_options_and_says_what_is_wrong(service: Server) -> None:
    with Client(service.url).stream(resolution="fast", draw=True) as stream:
        drawn = stream.estimate(picture_of_a_person(100)).picture
        assert drawn is not None and drawn.startswith(b"\xff\xd8")
        assert not stream.change(draw=False, track=False).draw
        result = stream.estimate(picture_of_a_person(100))
        assert (result.picture, result.people[0].id) == (None, None)
        with pytest.raises(ClientError, match="min_score"):
            stream.change(min_score=7)
        with pytest.raises(PictureError) as caught:
            stream.estimate(b"text")
        assert caught.value.index == 2
        assert stream.estimate(picture_of_a_person(100)).people


@pytest.mark.parametrize("options", [{"resolution": "huge"}, {"model": "vgg"}, {"credits": 99}])
def test_a_real_service_refuses_a_wrong_hello(service: Server, options: dict[str, Any]) -> None:
    error = opening(service.url, **options)
    assert isinstance(error, StreamClosed)
    assert (error.code, error.passing) == (4400, False)
    assert next(iter(options)) in str(error)


def test_there_may_be_too_many_streams(service: Server) -> None:
    with ExitStack() as streams:
        for _ in range(3):
            streams.enter_context(Client(service.url).stream())
        error = opening(service.url)
    assert isinstance(error, StreamClosed)
    assert (error.code, error.passing) == (1013, True)


def test_a_closed_stream_leaves_no_thread(service: Server) -> None:
    before = set(threading.enumerate())
    for end in (PoseStream.close, PoseStream.finish):
        with Client(service.url).stream() as stream:
            stream.estimate(picture_of_a_person(100))
            end(stream)
    assert set(threading.enumerate()) <= before


def test_a_service_that_restarts_answers_what_is_under_way_and_asks_to_come_back() -> None:
    with running(*FAKE, "0.3") as server, Client(server.url).stream() as stream:
        stream.send(picture_of_a_person(100))
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert stream.receive(20) is not None
        with pytest.raises(StreamClosed) as caught:
            stream.receive(20)
        stopping.join(30)
    assert (caught.value.code, caught.value.passing) == (1012, True)
    assert opening(server.url).passing
