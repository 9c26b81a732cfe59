"""A container of the serving image that answers, and the volumes it needs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.images.container import Container
from deploy.images.image import Image, ImageError
from tests.ports import free_port

_START = 120.0


@dataclass(frozen=True)
class Service:
    """A container that answers, and where."""

    container: Container
    http: httpx.Client
    seconds_to_start: float


@contextmanager
def serving(image: Image, root: Path, work: Path, models: Path, environment: Mapping[str, str]) -> Iterator[Service]:
    """A container of the image that is ready, with a writable data volume and a read-only one for models.

    Raises:
        ImageError: it does not get ready.
    """
    data = owned_folder(work / "data", image)
    port = free_port()
    here = {"YAOP_HOST": "127.0.0.1", "YAOP_PORT": str(port), **environment}
    begin = time.monotonic()
    container = Container(
        image, root, work, volumes={"/data": data, "/models": models}, read_only=["/models"], environment=here
    )
    with container, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        _wait_until_ready(container, http)
        yield Service(container, http, time.monotonic() - begin)


def owned_folder(path: Path, image: Image) -> Path:
    """An empty folder that belongs to the image's user, as a volume."""
    path.mkdir(parents=True)
    os.chown(path, *image.user)
    return path


def checked(answer: httpx.Response, status: int = 200) -> httpx.Response:
    """The answer, if it has this status; else `ImageError`."""
    if answer.status_code != status:
        raise ImageError(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:300]}")
    return answer


def _wait_until_ready(container: Container, http: httpx.Client) -> None:
    deadline = time.monotonic() + _START
    while container.running and time.monotonic() < deadline:
        try:
            if http.get("/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise ImageError(f"{container.image.name}: did not get ready; {container.last_words}")
