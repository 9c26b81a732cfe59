"""A small client of streams, which checks nothing, and the service on the fake engine in this process for it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

import msgpack
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service.app import create_app
from service.launch import Server, server_config
from service.listening import bind, url_of
from service.models import ModelRepository
from service.runtime import Runtime
from service.settings import Settings
from service.streams.header import HEADER_BYTES, Header, Kind
from service.streams.messages import (
    PATH,
    PROTOCOL,
    SERVER_MESSAGE,
    OptionsChanged,
    StreamError,
    StreamResult,
    Welcome,
)
from tests.fake_engine import DiscEngine, discs, fake_models, person_at
from tests.photos import encode

SECONDS = 20.0
WIDTH, HEIGHT = 128, 96

Message = Welcome | OptionsChanged | StreamResult | StreamError
Expected = TypeVar("Expected", Welcome, OptionsChanged, StreamResult, StreamError)


@cache
def picture(x: float = 80, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A JPEG with a person whose neck is so many pixels from the left."""
    return encode(discs(width, height, person_at(x, height * 0.7, 30), 6), "jpeg")


class StreamClient:
    """A stream, from the client's side.

    Args:
        url: of the service.
        protocol: to ask for.
        hello: whether to send one, and wait for the welcome.
        options: members of the hello.

    Attributes:
        welcome: the service's, after a hello.
        socket: the WebSocket.
    """

    def __init__(self, url: str, *, protocol: str = PROTOCOL, hello: bool = True, **options: Any) -> None:
        self._closing = ExitStack()
        connecting = connect(
            url.replace("http", "ws", 1) + PATH,
            subprotocols=[protocol],  # pyright: ignore[reportArgumentType]
            compression=None,
            proxy=None,
            max_size=None,
            origin=options.pop("origin", None),
            additional_headers=options.pop("headers", None),
        )
        self.socket = self._closing.enter_context(connecting)
        if hello:
            self.text(type="hello", **({"resolution": "fast"} | options))
            self.welcome = self.expect(Welcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._closing.close()

    def settle(self) -> None:
        """Wait until the service has received all that was sent so far."""
        assert self.socket.ping().wait(SECONDS)

    def text(self, **members: Any) -> None:
        """Send a text message."""
        self.socket.send(json.dumps(members))

    def send(self, index: int, data: bytes | None = None, timestamp: float | None = None) -> None:
        """Send a picture."""
        header = Header(Kind.PICTURE, index, index / 30 if timestamp is None else timestamp)
        self.socket.send(header.pack() + (picture() if data is None else data))

    def read(self) -> Message:
        """The next message; pictures of JSON streams are in it as in those of msgpack streams."""
        data = self.socket.recv(SECONDS)
        if isinstance(data, bytes):
            return SERVER_MESSAGE.validate_python(msgpack.unpackb(data))
        return SERVER_MESSAGE.validate_json(data)

    def expect(self, kind: type[Expected]) -> Expected:
        """The next message, which has to be of this kind."""
        message = self.read()
        assert isinstance(message, kind), message
        return message

    def look(self, index: int, data: bytes | None = None, timestamp: float | None = None) -> StreamResult:
        """Send a picture and wait for its result."""
        self.send(index, data, timestamp)
        return self.expect(StreamResult)

    def drawn(self) -> tuple[Header, bytes]:
        """The next message, which has to be binary: its header and picture."""
        data = self.socket.recv(SECONDS)
        assert isinstance(data, bytes)
        return Header.unpack(data), data[HEADER_BYTES:]

    def end(self) -> tuple[int, str]:
        """Read to the end. Gives the close code (1006: none came) and reason."""
        try:
            while True:
                self.socket.recv(SECONDS)
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


class Service:
    """A service in this process.

    Attributes:
        url: where it is.
        engine: of its first model.
        listener: the socket it listens on.
        config: of uvicorn.
    """

    def __init__(self, engine: DiscEngine, models: ModelRepository, settings: Settings) -> None:
        self.engine = engine
        app = create_app(settings, models)
        self.listener = bind(settings.host, settings.port)
        self.url = url_of(self.listener, settings.host)
        self.config = server_config(app, settings)
        self._server = Server(self.config, self.url, app.state)
        self._app = app
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self.listener]}, daemon=True)

    @property
    def runtime(self) -> Runtime:
        """The running parts."""
        return self._app.state.runtime

    @property
    def stopping(self) -> bool:
        """Whether its shutdown has begun."""
        return self._app.state.stopping.is_set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])

    def wait_for_streams(self, count: int) -> None:
        """Wait until there are so many."""
        end = time.monotonic() + SECONDS
        while len(self.runtime.streams) != count:
            assert time.monotonic() < end, f"there are {len(self.runtime.streams)} streams"
            time.sleep(0.005)

    def start(self) -> None:
        """Serve, on a thread."""
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "it did not start"
            self._thread.join(0.005)

    def stop(self) -> None:
        """Ask it to stop, as a signal does."""
        self._server.should_exit = True

    def wait(self) -> None:
        """Wait until it has stopped."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "it does not stop"
        self.listener.close()


@contextmanager
def streaming(
    engine: DiscEngine | None = None,
    models: ModelRepository | None = None,
    *,
    ping: float | None = None,
    send_buffer: int | None = None,
    **given: Any,
) -> Iterator[Service]:
    """A running service for streams, served as `yaop serve` does.

    Args:
        engine: of its only model.
        models: what it serves, if that is not it.
        ping: seconds between pings, and to answer them.
        send_buffer: bytes of the system's buffer for each connection.
        given: settings.
    """
    engine = engine or DiscEngine()
    settings = Settings(**{"deadline": 120, "videos": False, "port": 0, **given})
    service = Service(engine, models or fake_models(engine), settings)
    if ping is not None:
        service.config.ws_ping_interval = service.config.ws_ping_timeout = ping
    if send_buffer is not None:
        service.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    service.start()
    try:
        yield service
    finally:
        engine.gate.set()
        service.stop()
        service.wait()
