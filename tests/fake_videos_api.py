"""The video routes as a client sees them, without a server: a transport for `service.client.Client`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx

from service.jobs.job import Job

ID = "0123456789abcdef"
SOURCE = {
    "container": "mp4",
    "codec": "h264",
    "pixel_format": "yuv420p",
    "stored_width": 160,
    "stored_height": 120,
    "matrix": "bt601",
    "frames": 30,
    "seconds": 1.0,
    "fps": 30.0,
    "variable": False,
    "rotation": 0,
    "mirrored": False,
    "sample_aspect": [1, 1],
    "audio": None,
    "seekable": True,
    "warnings": [],
    "time_base": [1, 15360],
    "first_pts": 0,
    "step": 512,
    "by_order": False,
    "ends_early": False,
}
PROBLEM = {
    "type": "urn:yaop:problem:unsupported-container",
    "title": "Unsupported container",
    "status": 415,
    "detail": "It is Ogg; accepted are MP4, MOV, AVI, MKV and WebM.",
}

Handler = Callable[[httpx.Request], httpx.Response]


def job(state: str = "running", frames_done: int = 0, **more: Any) -> Job:
    """A job of 30 frames."""
    given = {"id": ID, "filename": "in.mp4", "bytes": 5, "created_at": "2026-01-01T00:00:00Z", "options": {}}
    return Job.model_validate(
        given | {"state": state, "source": SOURCE, "frames_done": frames_done, "frames_total": 30} | more
    )


def answer(body: Job, status: int = 200) -> httpx.Response:
    """A job as the service answers with it."""
    return httpx.Response(status, content=body.model_dump_json(), headers={"Content-Type": "application/json"})


def event(body: Job, number: int, name: str = "progress") -> bytes:
    """A job as one of its events."""
    return f"id: {number}\nevent: {name}\ndata: {body.model_dump_json()}\n\n".encode()


class Broken(httpx.SyncByteStream):
    """A body that arrives in pieces, and may break off: pieces that are errors are raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def events(*pieces: bytes | Exception) -> httpx.Response:
    """A stream of events."""
    return httpx.Response(200, stream=Broken(*pieces), headers={"Content-Type": "text/event-stream"})


class Script(httpx.BaseTransport):
    """Answers each route with its next answer; the last one is repeated. Errors are raised.

    Attributes:
        requests: with their bodies read.
    """

    def __init__(self, **routes: list[httpx.Response | Exception | Handler]) -> None:
        self._routes = {name.replace("__", " /").replace("_", "/"): answers for name, answers in routes.items()}
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answers = self._routes[f"{request.method} {request.url.path.replace(ID, 'ID')}"]
        following = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(following, Exception):
            raise following
        return following if isinstance(following, httpx.Response) else following(request)

    def asked(self, method: str, path: str) -> list[httpx.Request]:
        """The requests of a route, ``ID`` standing for the job's."""
        return [
            request
            for request in self.requests
            if request.method == method and request.url.path.replace(ID, "ID") == path
        ]
