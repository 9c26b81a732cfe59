"""The service's side of ``/stream``, made in the browser test itself: every state of a stream, at will."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from playwright.sync_api import Page, Route, WebSocketRoute

from service.problems import Problem
from service.streams.header import HEADER_BYTES, Header
from service.streams.messages import (
    Hello,
    OptionsChanged,
    StreamError,
    StreamLimits,
    StreamOptions,
    StreamResult,
    Welcome,
)
from service.topology import Topology
from shared.schema import Keypoint, ModelRef, Person
from shared.skeleton import BODY_18

MODEL = ModelRef(name="discs", version="1.2.3")


class Picture(NamedTuple):
    """What the page sent."""

    header: Header
    jpeg: bytes


@dataclass
class StreamRoutes:
    """What the page believes to be the service. What it says is in its attributes, which a test changes as it goes.

    Attributes:
        answer: what a picture is answered with; None: not at all.
        refuse: what a hello is answered with instead of a welcome: a code and a reason.
        sockets: connections that were made.
        hellos: by connection.
        changes: ``options`` messages.
        pictures: that came.
        models: names of those that ``GET /models`` lists, the default first; None: those of the server itself.
    """

    answer: Callable[[Picture], StreamResult | StreamError | None] = lambda picture: result(picture.header)
    refuse: tuple[int, str] | None = None
    sockets: list[WebSocketRoute] = field(default_factory=list[WebSocketRoute])
    hellos: list[Hello] = field(default_factory=list[Hello])
    changes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    pictures: list[Picture] = field(default_factory=list[Picture])
    models: list[str] | None = None
    _options: StreamOptions = field(default_factory=StreamOptions)

    def install(self, page: Page) -> StreamRoutes:
        """Answer this page's streams."""
        page.route_web_socket("**/stream", self._open)
        page.route("**/models", self._list_models)
        return self

    def close(self, code: int, reason: str = "") -> None:
        """End the last connection."""
        self.sockets[-1].close(code=code, reason=reason)

    def _list_models(self, route: Route) -> None:
        if self.models is None:
            route.fallback()
            return
        models = [
            {"name": name, "version": MODEL.version, "default": index == 0, "engine": "fake"}
            for index, name in enumerate(self.models)
        ]
        route.fulfill(json={"models": models})

    def _open(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda message: self._hear(socket, message))

    def _hear(self, socket: WebSocketRoute, message: str | bytes) -> None:
        if isinstance(message, bytes):
            picture = Picture(Header.unpack(message), message[HEADER_BYTES:])
            self.pictures.append(picture)
            answer = self.answer(picture)
            if answer:
                _say(socket, answer)
        elif (said := json.loads(message))["type"] == "hello":
            self._greet(socket, Hello.model_validate(said))
        else:
            self.changes.append(said)
            changed = {name: value for name, value in said.items() if name != "type"}
            self._options = StreamOptions.model_validate(self._options.model_dump() | changed)
            _say(socket, OptionsChanged(options=self._options))

    def _greet(self, socket: WebSocketRoute, hello: Hello) -> None:
        self.hellos.append(hello)
        if self.refuse:
            code, reason = self.refuse
            _say(socket, error(503, *reason.split(": ", 1), fatal=True))
            socket.close(code=code, reason=reason)
            return
        self._options = hello.options()
        _say(socket, welcome(hello))


def _say(socket: WebSocketRoute, message: Welcome | OptionsChanged | StreamResult | StreamError) -> None:
    socket.send(message.model_dump_json(exclude_none=False))


def welcome(hello: Hello) -> Welcome:
    """The answer to a hello."""
    return Welcome(
        id="s-1",
        model=MODEL,
        topology=Topology.of(BODY_18),
        options=hello.options(),
        credits=hello.credits,
        limits=StreamLimits(frame_bytes=4_000_000, frame_pixels=8_000_000, fps=60, idle_seconds=60),
    )


def result(header: Header, *people: Person, size: tuple[int, int] = (384, 288), **more: Any) -> StreamResult:
    """The answer to a picture."""
    return StreamResult(
        index=header.sequence,
        timestamp=header.timestamp,
        width=size[0],
        height=size[1],
        people=list(people),
        model=MODEL,
        timing_ms={"total": 12.3},
        **more,
    )


def person(points: dict[str, tuple[float, float]], number: int | None = None) -> Person:
    """Somebody with these keypoints."""
    xs, ys = zip(*points.values(), strict=True)
    keypoints = {name: Keypoint(x=x, y=y, score=0.9) for name, (x, y) in points.items()}
    return Person(
        id=number,
        score=0.8,
        bbox=(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)),
        keypoints={name: keypoints.get(name) for name in BODY_18.keypoints},
    )


def error(
    status: int, kind: str, detail: str, *, index: int | None = None, fatal: bool = False, **more: Any
) -> StreamError:
    """Something that is wrong."""
    return StreamError(index=index, fatal=fatal, problem=Problem(status, kind, detail, **more).details("s-1"))
