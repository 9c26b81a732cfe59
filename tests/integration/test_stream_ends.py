"""How streams end, and that nothing of them is left: at shutdown, when a client goes, when a model is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from starlette.types import Message, Scope
from websockets.exceptions import ConnectionClosed

from service.models import LoadedModel, ModelRepository
from service.streams.header import Header, Kind
from service.streams.messages import PATH, PROTOCOL, StreamError, StreamResult
from shared.skeleton import BODY_18
from tests.api_client import build, until
from tests.fake_engine import DiscEngine, fake_model, fake_models
from tests.server_process import FAKE, running
from tests.stream_client import SECONDS, Service, StreamClient, picture, streaming
from tests.websocket_bytes import Connection, Opcode, pack


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with streaming() as running_service:
        yield running_service


def check_restart(client: StreamClient) -> None:
    """It ends because the service does."""
    error = client.expect(StreamError)
    assert error.fatal and error.problem.type == "urn:yaop:problem:shutting-down"
    assert client.end() == (1012, "shutting-down: The service stops. Come back in a second.")


def until_stopping(service: Service) -> None:
    """Wait until its shutdown has begun."""
    end = time.monotonic() + SECONDS
    while not service.stopping:
        assert time.monotonic() < end
        time.sleep(0.005)


def hold(service: Service, client: StreamClient, index: int) -> None:
    """Send a picture that the engine holds on to."""
    service.engine.gate.clear()
    service.engine.entered.clear()
    client.send(index)
    assert service.engine.entered.wait(20)


def test_at_shutdown_it_is_not_ready_any_more_while_pictures_are_answered() -> None:
    with streaming() as service, StreamClient(service.url) as busy, httpx.Client(base_url=service.url) as probe:
        assert probe.get("/health/ready").status_code == 200
        hold(service, busy, 0)
        service.stop()
        until_stopping(service)
        answer = probe.get("/health/ready")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:yaop:problem:shutting-down")
        assert httpx.get(f"{service.url}/health/live").status_code == 200  # for restarting it there is no reason
        service.engine.gate.set()
        assert busy.expect(StreamResult).index == 0
        service.wait()


def test_at_shutdown_pictures_under_way_are_answered_first() -> None:
    with streaming() as service, StreamClient(service.url) as busy, StreamClient(service.url) as idle:
        hold(service, busy, 0)
        busy.send(1)
        busy.settle()
        service.stop()
        check_restart(idle)
        service.engine.gate.set()
        assert [busy.expect(StreamResult).index for _ in range(2)] == [0, 1]
        check_restart(busy)
        service.wait()


def test_a_stream_that_begins_at_shutdown_is_sent_away() -> None:
    with streaming() as service:
        with StreamClient(service.url) as busy, StreamClient(service.url, hello=False) as silent:
            hold(service, busy, 0)
            service.stop()
            check_restart(silent)  # the shutdown has begun
            with StreamClient(service.url, hello=False) as late:
                check_restart(late)
            busy.send(1)  # not taken any more
            busy.settle()
            service.engine.gate.set()
            assert busy.expect(StreamResult).index == 0
            check_restart(busy)
        service.wait()


def test_a_client_that_goes_on_sending_at_shutdown_is_told_all_the_same() -> None:
    large = picture() + bytes(1_000_000)

    def go_on(client: StreamClient) -> None:
        with contextlib.suppress(ConnectionClosed):
            for index in range(1, 1000):
                client.send(index, large)

    with streaming() as service, StreamClient(service.url) as client:
        hold(service, client, 0)
        service.stop()
        wait_for(lambda: service.stopping)
        sending = threading.Thread(target=go_on, args=(client,))
        sending.start()
        service.engine.gate.set()
        assert client.expect(StreamResult).index == 0
        check_restart(client)
        sending.join(SECONDS)
        service.wait()


def test_shutdown_does_not_wait_for_an_engine_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.launch.DRAIN_SECONDS", 0.2)
    with streaming(shutdown_timeout=0.2) as service, StreamClient(service.url) as client:
        hold(service, client, 0)
        service.stop()
        check_restart(client)
        service.wait()


def test_shutdown_does_not_wait_for_a_client_that_does_not_answer() -> None:
    with streaming() as service:
        connection = Connection(service.port)
        assert connection.handshake() == 101
        connection.send(pack(Opcode.TEXT, b'{"type": "hello"}'))
        service.wait_for_streams(1)
        service.stop()
        service.wait()


def test_sigterm_answers_the_picture_under_way_and_exits() -> None:
    with running(*FAKE, "0.7", videos="false") as server:
        with StreamClient(server.url) as client:
            client.send(0)
            client.settle()
            server.process.terminate()
            assert client.expect(StreamResult).index == 0
            check_restart(client)
        assert server.stop() == 0
    assert not [line for line in server.errors if '"level": "error"' in line or "Traceback" in line]
    assert any('"message": "stream"' in line and '"code": 1012' in line for line in server.errors)


def test_the_end_of_the_application_ends_streams_under_any_server() -> None:
    sent: list[Message] = []
    scope: Scope = {"type": "websocket", "path": PATH, "headers": [], "query_string": b"", "subprotocols": [PROTOCOL]}

    async def take(message: Message) -> None:
        sent.append(message)

    async def stream() -> None:
        app = build()
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        async with app.router.lifespan_context(app):
            running_stream = asyncio.create_task(app(scope, incoming.get, take))
            incoming.put_nowait({"type": "websocket.connect"})
            incoming.put_nowait({"type": "websocket.receive", "text": '{"type": "hello"}'})
            incoming.put_nowait({"type": "websocket.receive", "bytes": Header(Kind.PICTURE, 0, 0).pack() + picture()})
            await until(lambda: len(sent) == 3)  # accepted, welcome, result
        await running_stream

    asyncio.run(stream())
    assert [message["type"] for message in sent[3:]] == ["websocket.send", "websocket.close"]
    assert sent[-1]["code"] == 1012


@pytest.mark.parametrize("how", ["close", "code", "reset", "half"])
def test_a_client_that_goes_leaves_nothing(service: Service, how: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection(service.port)
    assert connection.handshake() == 101
    connection.send(pack(Opcode.TEXT, b'{"type": "hello"}'))
    assert connection.next() is not None
    service.engine.gate.clear()
    service.engine.entered.clear()
    connection.send(pack(Opcode.BINARY, Header(Kind.PICTURE, 0, 0).pack() + picture()))
    assert service.engine.entered.wait(20)
    if how == "reset":
        connection.reset()
    elif how == "half":
        connection.socket.close()
    else:
        connection.send(pack(Opcode.CLOSE, b"\x0f\xa3" if how == "code" else b""))
    service.wait_for_streams(0)
    service.engine.gate.set()
    assert not [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info]


def ends(service: Service) -> dict[str, int]:
    """How many streams ended, by code."""
    text = service.runtime.metrics.render().decode()
    found = re.findall(r'^yaop_stream_ends_total\{code="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {code: int(float(count)) for code, count in found}


def test_streams_and_their_pictures_are_counted() -> None:
    with streaming() as service:
        with StreamClient(service.url, credits=4) as client:
            assert "yaop_streams 1.0" in service.runtime.metrics.render().decode()
            client.look(0)
            client.send(1, b"")
            client.expect(StreamError)
            hold(service, client, 2)
            client.send(3)
            client.send(4)
            client.settle()
            service.engine.gate.set()
            assert [client.expect(StreamResult).index for _ in range(2)] == [2, 4]
        for code in (1000, 3000, 4999):
            connection = Connection(service.port)
            assert connection.handshake() == 101
            connection.send(pack(Opcode.CLOSE, code.to_bytes(2, "big")))
            connection.rest()
        with StreamClient(service.url) as rude:
            rude.socket.send("?")
            rude.end()
        service.wait_for_streams(0)
        text = service.runtime.metrics.render().decode()
        assert "yaop_streams 0.0" in text
        for outcome, count in {"done": 3, "empty-image": 1, "skipped": 1}.items():
            assert f'yaop_stream_pictures_total{{outcome="{outcome}"}} {count}.0' in text
        assert ends(service) == {"1000": 2, "other": 2, "4400": 1}
        assert 'yaop_requests_total{method="GET",route="/stream",status="101"} 5.0' in text
        assert "yaop_requests_in_flight 0.0" in text


def test_a_stream_has_one_line_in_the_log_and_a_refusal_too(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.access")
    with StreamClient(service.url) as client:
        client.look(0)
        client.send(1, b"")
        client.expect(StreamError)
        client.socket.send("?")
        client.end()
    service.wait_for_streams(0)
    (line,) = [record for record in caplog.records if record.name == "service.access"]
    told = {name: getattr(line, name) for name in ("path", "code", "pictures", "failed", "dropped")}
    assert line.getMessage() == "stream"
    assert told == {"path": PATH, "code": 4400, "pictures": 1, "failed": 1, "dropped": 0}
    caplog.clear()
    assert Connection(service.port).handshake(
        b"GET /stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ) == 400  # fmt: skip
    wait_for(lambda: bool(caplog.records))
    (line,) = [record for record in caplog.records if record.name == "service.access"]
    assert (line.getMessage(), getattr(line, "status", None)) == ("request", 400)


def reload(service: Service, model: LoadedModel) -> None:
    """Serve another model from now on."""
    service.runtime.served.replace(ModelRepository([model]))


def test_a_reload_does_not_disturb_streams_and_waits_for_none() -> None:
    with streaming() as service, StreamClient(service.url) as client:
        assert client.look(0).people[0].id == 1
        hold(service, client, 1)
        fresh = DiscEngine()
        reload(service, dataclasses.replace(fake_model(fresh)))
        assert not service.engine.closed
        service.engine.gate.set()
        assert client.expect(StreamResult).index == 1
        assert client.look(2).people[0].id == 1
        assert fresh.calls
        wait_for(lambda: service.engine.closed)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for something that happens on the service's threads."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_a_stream_whose_model_is_gone_is_sent_to_come_back() -> None:
    with streaming() as service, StreamClient(service.url) as client:
        client.look(0)
        reload(service, fake_model(DiscEngine(), name="squares"))
        client.send(1)
        check_replaced(client)
        with StreamClient(service.url) as again:
            assert again.welcome.model.name == "squares"


def test_a_stream_whose_skeleton_has_changed_is_sent_to_come_back() -> None:
    with streaming() as service, StreamClient(service.url) as client:
        client.look(0)
        other = fake_model(DiscEngine())
        vars(other.bundle)["skeleton"] = dataclasses.replace(BODY_18, colors=BODY_18.colors[::-1])  # it is cached
        reload(service, other)
        client.send(1)
        check_replaced(client)


def check_replaced(client: StreamClient) -> None:
    """It ends because its model has been replaced."""
    error = client.expect(StreamError)
    assert error.fatal and error.problem.type == "urn:yaop:problem:model-replaced"
    assert client.end()[0] == 1012


def test_the_errors_of_one_stream_do_not_touch_another(service: Service) -> None:
    with StreamClient(service.url) as good:
        for index in range(10):
            with StreamClient(service.url) as bad:
                bad.send(0, b"no picture")
                bad.socket.send("no text")
                assert good.look(index).people[0].id == 1
                bad.end()


def test_several_models_can_be_streamed_at_once() -> None:
    models = ModelRepository([fake_model(DiscEngine(), name="one"), *fake_models()])
    with (
        streaming(models=models) as service,
        StreamClient(service.url) as first,
        StreamClient(service.url, model="discs") as second,
    ):
        assert first.look(0).model.name == "one"
        assert second.look(0).model.name == "discs"
