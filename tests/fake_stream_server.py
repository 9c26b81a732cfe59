"""The other end of a stream, to be scripted: it speaks the protocol by its own hands, and finds nobody in any picture.

with stream_server(lambda talk: talk.answer_all()) as url: ...
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("yaop.stream.v1")
TOPOLOGY = {"keypoints": ["nose", "neck"], "limbs": [[1, 0]], "bones": [[1, 0]], "colors": [[255, 0, 0], [0, 255, 0]]}
OPTIONS = {"resolution": 384, "min_score": 0.05, "max_people": 30, "track": True, "smooth": True, "draw": False}
LIMITS = {"frame_bytes": 4_000_000, "frame_pixels": 8_912_896, "fps": 60, "idle_seconds": 60}
MODEL = {"name": "discs", "version": "1.2.3"}


@dataclass
class Talk:
    """One connection.

    Attributes:
        connection: to the client.
        hello: what it said first.
        options: that are in force.
        pictures: header bytes and contents of what it sent, by sequence number.
    """

    connection: ServerConnection
    hello: dict[str, Any] = field(default_factory=dict[str, Any])
    options: dict[str, Any] = field(default_factory=lambda: dict(OPTIONS))
    pictures: dict[int, tuple[bytes, bytes]] = field(default_factory=dict[int, tuple[bytes, bytes]])

    def welcome(self, **members: Any) -> None:
        """Read the hello and answer it."""
        self.hello = json.loads(self.connection.recv())
        self.options |= {name: value for name, value in self.hello.items() if name in OPTIONS}
        self.say(
            "welcome",
            protocol=PROTOCOL,
            id="1",
            model=MODEL,
            topology=TOPOLOGY,
            options=self.options,
            credits=self.hello.get("credits", 2),
            limits=LIMITS,
            **members,
        )

    def say(self, kind: str, **members: Any) -> None:
        """Send a message."""
        self.connection.send(json.dumps({"type": kind, **members}))

    def picture(self) -> int:
        """Read a picture; gives its sequence number."""
        message = self.connection.recv()
        assert isinstance(message, bytes), message
        sequence = int.from_bytes(message[4:8], "big")
        self.pictures[sequence] = message[:16], message[16:]
        return sequence

    def result(self, index: int, **members: Any) -> None:
        """Answer a picture, also with what was drawn if that was asked for."""
        frame = {"index": index, "timestamp": 0.5, "width": 4, "height": 2, "people": [], "model": MODEL}
        self.say("result", **frame | {"timing_ms": {"total": 1.0}, "skipped": [], "dropped": 0} | members)
        if self.options["draw"]:
            header, content = self.pictures[index]
            self.connection.send(b"\x02" + header[1:] + b"drawn " + content)

    def error(self, kind: str, detail: str, index: int | None = None, **members: Any) -> None:
        """Say what is wrong."""
        problem = {"type": f"urn:yaop:problem:{kind}", "title": kind.replace("-", " ").capitalize(), "status": 400}
        self.say("error", **{"index": index, "fatal": False, "problem": problem | {"detail": detail}} | members)

    def change(self) -> dict[str, Any]:
        """Read options, and say that they are in force."""
        message = json.loads(self.connection.recv())
        assert message.pop("type") == "options"
        self.options |= message
        self.say("options", options=self.options)
        return message

    def answer_all(self) -> None:
        """Welcome the client and answer its pictures until it goes."""
        self.welcome()
        while True:
            self.result(self.picture())

    def close(self, code: int, reason: str = "") -> None:
        """End the stream."""
        self.connection.close(code, reason)

    def vanish(self) -> None:
        """End the connection without a word."""
        self.connection.socket.shutdown(2)

    def until_gone(self) -> ConnectionClosed:
        """Read on until the client is gone; how it went."""
        try:
            while True:
                self.connection.recv()
        except ConnectionClosed as closed:
            return closed


Behaviour = Callable[[Talk], None]


@contextmanager
def stream_server(
    *behaviours: Behaviour,
    refusal: tuple[int, dict[str, Any] | str] | None = None,
    location: str = "",
    subprotocol: bool = True,
    path: str = "/stream",
    ssl: SSLContext | None = None,
) -> Iterator[str]:
    """A server whose first client meets the first behaviour, and so on; the last one is met by all that follow.

    Args:
        refusal: status and problem (or text) that every handshake is answered with.
        location: where a refusal sends the client.
        subprotocol: whether the one of the protocol is chosen.
        path: where it is; elsewhere there is 404.
        ssl: for TLS.

    Yields:
        The address of the service, as for `Client`: ``http://127.0.0.1:PORT``.

    Raises:
        AssertionError: a behaviour failed.
    """
    waiting = list(behaviours)
    turn = threading.Lock()
    failures: list[BaseException] = []

    def handle(connection: ServerConnection) -> None:
        with turn:
            behave = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        with suppress(ConnectionClosed):
            try:
                behave(Talk(connection))
            except (AssertionError, ValueError, KeyError) as error:
                failures.append(error)
                raise

    def before(connection: ServerConnection, request: Request) -> Response | None:
        if refusal is None:
            return None if request.path == path else _answer(404, "nothing here")
        return _answer(*refusal, location)

    limits: dict[str, Any] = {"compression": None, "max_size": LIMITS["frame_bytes"] + 16}
    options: dict[str, Any] = {"subprotocols": [PROTOCOL]} if subprotocol else {"select_subprotocol": lambda *_: None}
    with serve(handle, "127.0.0.1", 0, process_request=before, ssl=ssl, **limits, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http{'s' if ssl else ''}://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(10)
    assert not failures, failures


def _answer(status: int, body: dict[str, Any] | str, location: str = "") -> Response:
    text, kind = (body, "text/plain") if isinstance(body, str) else (json.dumps(body), "application/problem+json")
    data = text.encode()
    headers = Headers([("Content-Type", kind), ("Content-Length", str(len(data))), ("Connection", "close")])
    if location:
        headers["Location"] = location
    return Response(status, "Refused", headers, data)
