"""A real server that gets a new model while it is asked without a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx
import pytest

from shared.bundle import Bundle, write_bundle
from shared.promotion import promote, roll_back
from tests.api_client import JPEG
from tests.server_process import REAL, Server, running

KEY = {"Authorization": "Bearer open sesame"}
CLIENTS = 3


class Load:
    """Clients that ask all the time, and what they were told: status and the model's version."""

    def __init__(self, url: str, picture: bytes) -> None:
        self.answers: list[tuple[int, str]] = []
        self._url = f"{url}/pose?resolution=fast"
        self._picture = picture
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(120)

    def until(self, condition: Callable[[list[tuple[int, str]]], bool], count: int) -> None:
        """Wait until so many answers fulfil a condition from now on."""
        start, deadline = len(self.answers), time.monotonic() + 120
        while sum(condition([answer]) for answer in self.answers[start:]) < count:
            assert time.monotonic() < deadline, self.answers[start:]
            time.sleep(0.02)

    def _ask(self) -> None:
        with httpx.Client(timeout=120) as client:
            while not self._enough.is_set():
                answer = client.post(self._url, content=self._picture, headers=JPEG)
                version = answer.json()["model"]["version"] if answer.status_code == 200 else answer.text
                self.answers.append((answer.status_code, version))


def version_of(shipped: Bundle, version: str, folder: Path) -> Path:
    """The shipped model as another version, with the shapes of one resolution, so that it loads fast."""
    shapes = tuple(shape for shape in shipped.manifest.shapes if max(shape) == 256)
    manifest = shipped.manifest.model_copy(update={"version": version, "shapes": shapes, "name": "people"})
    return write_bundle(folder / version, manifest, shipped.path).path


@pytest.fixture
def models_dir(shipped_bundle: Bundle, tmp_path: Path) -> Path:
    for version in ("1", "2"):
        version_of(shipped_bundle, version, tmp_path)
    promote(tmp_path / "1", tmp_path / "models")
    return tmp_path / "models"


def reload(server: Server) -> httpx.Response:
    return httpx.post(f"{server.url}/models/reload", headers=KEY, timeout=120)


def test_versions_change_under_load_without_a_failed_request(
    models_dir: Path, tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    settings = {"model": "people", "models_dir": str(models_dir), "engine": "litert", "admin_key": "open sesame"}
    with running(*REAL, **settings, deadline="100") as server:
        with Load(server.url, astronaut_jpeg) as load:
            load.until(lambda answers: answers == [(200, "1")], 5)
            promote(tmp_path / "2", models_dir)
            answer = reload(server)
            assert [(model["name"], model["version"]) for model in answer.json()["models"]] == [("people", "2")]
            load.until(lambda answers: answers == [(200, "2")], 5)

            damaged = models_dir / "people" / "model.tflite"
            damaged.write_bytes(damaged.read_bytes()[:-1])
            refused = reload(server)
            assert refused.status_code == 409
            assert "truncated" in refused.json()["detail"]
            load.until(lambda answers: answers == [(200, "2")], 5)

            roll_back(models_dir, "people")
            assert reload(server).status_code == 200
            load.until(lambda answers: answers == [(200, "1")], 5)
        assert {status for status, _ in load.answers} == {200}
        assert server.stop() == 0
    assert "Traceback" not in "".join(server.errors)
