"""Who may not open a stream is told so: over HTTP before it is open, with a close code where it is full."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import InvalidStatus

from service.streams.messages import PATH, PROTOCOL, StreamError
from tests.api_client import PROBLEM, serving
from tests.stream_client import Service, StreamClient, streaming
from tests.websocket_bytes import Connection, request


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with streaming(origins=("https://app.example.com", "http://localhost:3000")) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error and no traceback comes of what a client does."""
    yield
    assert not [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info]


def refusal(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """The HTTP answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        StreamClient(url, hello=False, **options)
    response = refused.value.response
    assert response.headers["Content-Type"] == PROBLEM
    problem = json.loads(response.body or b"")
    assert problem["request_id"] == response.headers["X-Request-ID"]
    return response.status_code, problem


@pytest.mark.parametrize("protocol", ["yaop.stream.v2", "YAOP.stream.v1", "chat"])
def test_a_protocol_that_is_not_spoken_is_refused(service: Service, protocol: str) -> None:
    status, problem = refusal(service.url, protocol=protocol)
    assert (status, problem["type"]) == (400, "urn:yaop:problem:unknown-protocol")
    assert PROTOCOL in problem["detail"]


def test_no_protocol_is_refused(service: Service) -> None:
    assert Connection(service.port).handshake(request(protocols=())) == 400


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://app.example.com", "nonsense", "http://["]
)
def test_pages_of_other_origins_are_refused(service: Service, origin: str) -> None:
    status, problem = refusal(service.url, origin=origin)
    assert (status, problem["type"]) == (403, "urn:yaop:problem:foreign-origin")
    assert "YAOP_ORIGINS" in problem["detail"]


@pytest.mark.parametrize("origin", [None, "https://app.example.com", "http://localhost:3000", "OWN"])
def test_pages_of_this_service_and_of_origins_that_are_named_are_welcome(service: Service, origin: str | None) -> None:
    with StreamClient(service.url, origin=service.url if origin == "OWN" else origin) as client:
        assert client.look(0).people


def test_all_origins_may_be_welcome() -> None:
    with streaming(origins=("*",)) as service, StreamClient(service.url, origin="null") as client:
        assert client.look(0).people


def test_a_plain_get_is_told_to_upgrade(service: Service) -> None:
    answer = httpx.get(service.url + PATH)
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert answer.json()["type"] == "urn:yaop:problem:upgrade-required"
    assert httpx.post(service.url + PATH).status_code == 405
    assert PATH not in httpx.get(f"{service.url}/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["/", "/streams", "/pose", "/static/app.js", "/%FF", "//", "/a%00b"])
def test_websockets_elsewhere_are_not_found(service: Service, path: str) -> None:
    connection = Connection(service.port)
    assert connection.handshake(request(start=f"GET {path} HTTP/1.1")) == 404
    assert b"There is one at /stream." in connection.rest()


BROKEN = {
    "no key": request(key=None),
    "short key": request(key="abc"),
    "odd key": request(key="\xe4\xf6\xfc"),
    "old version": request(version="8"),
    "no version": request(version=None),
    "POST": request(start=f"POST {PATH} HTTP/1.1"),
    "two keys": request(more=b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
    "two origins": request(origin="http://yaop", more=b"Origin: http://yaop\r\n"),
    "path of other bytes": request().replace(b"/stream", b"/str\xc3\xa9am"),
    "query of other bytes": request().replace(b"/stream", b"/stream?\xff"),
    "chunked": request(more=b"Transfer-Encoding: chunked\r\n"),
    "body": request(more=b"Content-Length: 5\r\n"),
    "200 headers": request(more=b"".join(b"A%d: b\r\n" % i for i in range(200))),
    "long header": request(more=b"A: " + b"b" * 20_000 + b"\r\n"),
    "long path": request(start=f"GET {PATH}?{'a' * 20_000} HTTP/1.1"),
    "odd protocol": request(protocols=("\xff", "é")),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_handshakes_are_answered(service: Service, data: bytes) -> None:
    connection = Connection(service.port, seconds=5)
    assert 400 <= connection.handshake(data) < 600
    connection.rest()  # it is closed, too


def test_headers_of_other_bytes_do_no_harm(service: Service) -> None:
    more = b"User-Agent: \xff\xfe\r\nX-Request-ID: \xe9\r\nCookie: \xf0\x9f\x98\x80\r\n"
    assert Connection(service.port).handshake(request(more=more)) == 101
    assert Connection(service.port).handshake(request(origin="http://\xff", more=more)) == 403


def test_there_are_as_many_streams_as_may_be() -> None:
    with streaming(max_streams=3) as service:
        clients = [StreamClient(service.url) for _ in range(3)]
        check_full(service)
        clients[0].socket.close()
        service.wait_for_streams(2)
        assert StreamClient(service.url).look(0).people
        assert clients[1].look(0).people


def test_there_are_as_many_streams_from_an_address_as_may_be() -> None:
    with streaming(max_streams_per_address=2) as service:
        clients = [StreamClient(service.url) for _ in range(2)]
        check_full(service)
        with StreamClient(service.url, headers={"X-Forwarded-For": "203.0.113.9"}) as elsewhere:
            assert elsewhere.look(0).people
        clients[0].socket.close()
        service.wait_for_streams(1)
        assert StreamClient(service.url).look(0).people


def test_behind_a_proxy_on_this_machine_clients_count_for_themselves() -> None:
    one, other = ({"X-Forwarded-For": address} for address in ("192.0.2.1", "192.0.2.2"))
    with streaming(max_streams_per_address=1) as service, StreamClient(service.url, headers=one):
        with StreamClient(service.url, headers=other) as client:
            assert client.look(0).people
        with StreamClient(service.url, headers=one, hello=False) as client:
            assert client.end()[0] == 1013


@pytest.mark.parametrize(("named", "most"), [("198.51.100.7", 1), ("198.51.100.7, 127.0.0.0/8", 2)])
def test_a_proxy_is_believed_if_it_is_named(named: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", named)
    with streaming(max_streams_per_address=1) as service, ExitStack() as closing:
        for i in range(most):
            headers = {"X-Forwarded-For": f"192.0.2.{i}"}
            closing.enter_context(StreamClient(service.url, headers=headers))
        address = "192.0.2.0" if most > 1 else "192.0.2.9"  # all are one, where it is not believed
        last = StreamClient(service.url, headers={"X-Forwarded-For": address}, hello=False)
        assert closing.enter_context(last).end()[0] == 1013


def check_full(service: Service) -> None:
    """One more stream is told to come back."""
    with StreamClient(service.url, hello=False) as client:
        error = client.expect(StreamError)
        assert error.fatal and error.problem.type == "urn:yaop:problem:too-many-streams"
        code, reason = client.end()
    assert code == 1013 and reason.startswith("too-many-streams: ")


def test_no_streams_may_be_allowed() -> None:
    with streaming(max_streams=0) as service:
        check_full(service)


def test_a_server_without_refusals_closes() -> None:
    with serving() as client:

        async def without_extension(scope: Any, receive: Any, send: Any) -> None:
            scope.get("extensions", {}).pop("websocket.http.response", None)
            await client.app(scope, receive, send)

        with pytest.raises(WebSocketDisconnect), TestClient(without_extension).websocket_connect(PATH):
            pass


def test_capacity_is_not_lost_to_clients_that_come_and_go() -> None:
    with streaming(max_streams=2) as service:

        def come_and_go() -> None:
            for _ in range(20):
                connection = Connection(service.port)
                connection.send(request())
                connection.reset()

        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        service.wait_for_streams(0)
        with StreamClient(service.url) as client:
            assert client.look(0).people
