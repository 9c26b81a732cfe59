"""POST /models/reload: who may, what changes, and that a failed reload changes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from service import models
from service.app import create_app
from service.settings import Settings, load_settings
from shared.bundle import Bundle, Manifest, write_bundle
from shared.inference.engine import PoseArrays
from tests.api_client import JPEG, PROBLEM, until
from tests.fake_engine import SHAPES, SLOTS, STRIDE, DiscEngine, discs, person_at
from tests.photos import encode

PICTURE = encode(discs(320, 240, person_at(160, 120)), "jpeg")
KEY = {"Authorization": "Bearer open sesame"}


class Workshop:
    """A folder with the bundle "discs", and the fake engines that were made for it."""

    def __init__(self, folder: Path) -> None:
        self.models_dir = folder / "models"
        self.engines: list[DiscEngine] = []
        self.next_engine: type[DiscEngine] = DiscEngine
        (folder / "source").mkdir(parents=True)
        (folder / "source" / "model.tflite").write_bytes(b"TFL3" * 100)
        self._source = folder / "source"

    @property
    def tflite(self) -> Path:
        return self.models_dir / "discs" / "model.tflite"

    def publish(self, version: str) -> None:
        manifest = Manifest(
            name="discs", version=version, skeleton="body_18", stride=STRIDE, shapes=SHAPES, max_peaks=SLOTS,
            licence="Apache-2.0", created="2026-01-01T00:00:00Z", architecture="discs",
        )  # fmt: skip
        write_bundle(self.models_dir / "discs", manifest, self._source, replace=True)

    def load_engine(self, bundle: Bundle, name: str, threads: int) -> DiscEngine:
        self.engines.append(self.next_engine())
        return self.engines[-1]

    def settings(self, **changes: Any) -> Settings:
        given = {"model": ("discs",), "models_dir": self.models_dir, "admin_key": "open sesame", "deadline": 120}
        return Settings(**{"videos": False, **given, **changes})


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(tmp_path)
    made.publish("1")
    monkeypatch.setattr(models, "load_engine", made.load_engine)
    return made


@pytest.fixture
def client(workshop: Workshop) -> Iterator[TestClient]:
    with TestClient(create_app(workshop.settings()), raise_server_exceptions=False) as running:
        yield running


def version(client: TestClient) -> str:
    response = client.post("/pose", content=PICTURE, headers=JPEG)
    assert response.status_code == 200
    return response.json()["model"]["version"]


def test_a_new_version_answers_after_a_reload(client: TestClient, workshop: Workshop) -> None:
    assert version(client) == "1"
    workshop.publish("2")
    assert version(client) == "1"
    answer = client.post("/models/reload", headers=KEY)
    assert answer.status_code == 200
    assert answer.json() == {"models": [{"name": "discs", "version": "2", "default": True, "engine": "fake"}]}
    assert version(client) == "2"
    assert client.get("/models/discs").json()["version"] == "2"


def test_the_new_engine_is_warm_and_the_old_one_closed(client: TestClient, workshop: Workshop) -> None:
    client.post("/models/reload", headers=KEY)
    old, new = workshop.engines
    assert new.warmed == [shape for shape in SHAPES if max(shape) == 384]
    assert asyncio.run(closed(old)) and not new.closed


async def closed(engine: DiscEngine) -> bool:
    await until(lambda: engine.closed)
    return True


def damage(workshop: Workshop) -> None:
    workshop.tflite.write_bytes(b"TFL4" * 100)


def remove(workshop: Workshop) -> None:
    (workshop.models_dir / "discs" / "manifest.json").unlink()


class FailingEngine(DiscEngine):
    def warm_up(self, shapes: Any) -> None:
        raise RuntimeError("no graph\nfor you")


class OtherSkeletonsEngine(DiscEngine):
    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        return PoseArrays(np.zeros((1, 4, SLOTS, 3), np.float32), np.zeros((1, 3, SLOTS, SLOTS), np.float32))


@pytest.mark.parametrize(
    ("break_it", "engine", "reason"),
    [
        (damage, DiscEngine, "model.tflite: altered"),
        (remove, DiscEngine, "no model named 'discs'"),
        (None, FailingEngine, "no graph for you"),
        (None, OtherSkeletonsEngine, "expected 18 keypoints and 19 limbs, got 4 and 3"),
    ],
    ids=["damaged file", "no manifest", "fails its warm-up", "another skeleton"],
)
def test_the_old_model_is_kept_if_the_new_one_fails(
    client: TestClient, workshop: Workshop, break_it: Any, engine: Any, reason: str
) -> None:
    workshop.publish("2")
    workshop.next_engine = engine
    if break_it:
        break_it(workshop)
    answer = client.post("/models/reload", headers=KEY)
    assert (answer.status_code, answer.headers["content-type"]) == (409, PROBLEM)
    assert answer.json()["type"] == "urn:yaop:problem:reload-failed"
    assert reason in answer.json()["detail"]
    assert version(client) == "1"
    assert not workshop.engines[0].closed
    assert all(failed.closed for failed in workshop.engines[1:])


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer open"}, {"Authorization": "Basic open sesame"}, {"Authorization": "Bearer \u00fc"}],
    ids=["none", "wrong", "wrong scheme", "not ASCII"],
)
def test_without_the_key_nothing_is_reloaded(client: TestClient, workshop: Workshop, headers: dict[str, str]) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    answer = client.post("/models/reload", headers=encoded)
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "open sesame" not in answer.text
    assert len(workshop.engines) == 1


@pytest.mark.parametrize("key", [None, ""])
def test_a_service_without_a_key_refuses_everyone(workshop: Workshop, key: str | None) -> None:
    with TestClient(create_app(workshop.settings(admin_key=key))) as client:
        answer = client.post("/models/reload", headers={"Authorization": "Bearer "})
    assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)
    assert "YAOP_ADMIN_KEY" in answer.json()["detail"]


def test_the_key_is_read_from_the_environment_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_ADMIN_KEY", "open sesame")
    settings = load_settings()
    assert settings.admin_key and settings.admin_key.get_secret_value() == "open sesame"
    assert "sesame" not in repr(settings)


def test_a_request_in_progress_is_finished_by_the_model_it_began_with(workshop: Workshop) -> None:
    async def scenario() -> None:
        app = create_app(workshop.settings())
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://yaop", timeout=120)
        async with app.router.lifespan_context(app), client:
            old = workshop.engines[0]
            old.entered.clear()
            old.gate.clear()
            first = asyncio.create_task(client.post("/pose", content=PICTURE, headers=JPEG))
            assert await asyncio.to_thread(old.entered.wait, 60)
            workshop.publish("2")
            assert (await client.post("/models/reload", headers=KEY)).status_code == 200
            second = asyncio.create_task(client.post("/pose", content=PICTURE, headers=JPEG))
            assert not old.closed and not first.done()
            old.gate.set()
            assert (await first).json()["model"]["version"] == "1"
            assert (await second).json()["model"]["version"] == "2"
            await until(lambda: old.closed)

    asyncio.run(scenario())


def test_a_second_reload_meanwhile_is_refused(workshop: Workshop) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class SlowlyWarmed(DiscEngine):
        def warm_up(self, shapes: Any) -> None:
            entered.set()
            assert go_on.wait(60)

    async def scenario() -> None:
        app = create_app(workshop.settings())
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://yaop", timeout=120)
        async with app.router.lifespan_context(app), client:
            workshop.next_engine = SlowlyWarmed
            first = asyncio.create_task(client.post("/models/reload", headers=KEY))
            assert await asyncio.to_thread(entered.wait, 60)
            refused = await client.post("/models/reload", headers=KEY)
            assert refused.json()["type"] == "urn:yaop:problem:reload-in-progress"
            assert (await client.post("/pose", content=PICTURE, headers=JPEG)).status_code == 200
            go_on.set()
            assert (await first).status_code == 200

    asyncio.run(scenario())
