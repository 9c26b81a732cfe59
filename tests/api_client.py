"""The application in this process, on the fake engine, for tests that speak HTTP to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.app import create_app
from service.models import ModelRepository
from service.settings import Settings
from tests.fake_engine import DiscEngine, fake_model, fake_models

JPEG = {"Content-Type": "image/jpeg"}
PNG = {"Content-Type": "image/png"}
PROBLEM = "application/problem+json"


def _settings(given: dict[str, Any]) -> Settings:
    """A deadline that a busy machine keeps too, and no videos, unless the test is about them."""
    return Settings(**{"deadline": 120, "videos": False, **given})


def build(engine: DiscEngine | None = None, batch_limit: int = 8, **settings: Any) -> FastAPI:
    """The application on this engine."""
    repository = ModelRepository([fake_model(engine or DiscEngine(), batch_limit=batch_limit)])
    return create_app(_settings(settings), repository)


@contextmanager
def serving(engine: DiscEngine | None = None, **settings: Any) -> Iterator[TestClient]:
    """A client of a running application; it raises nothing that a real client would not see."""
    app = create_app(_settings(settings), fake_models(engine))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@asynccontextmanager
async def serving_async(engine: DiscEngine | None = None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The same for tests that have several requests under way at once."""
    app = build(engine, **settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://yaop", timeout=120) as client:
            yield client


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something that other threads or tasks bring about is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


def metric(client: httpx.Client, name: str) -> float:
    """The value of one sample of ``GET /metrics``; 0 if it is not there yet."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0
