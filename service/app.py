"""The application: settings and models in, ASGI out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from service import problems
from service.api import health, metrics, models, page, pose, stream, videos
from service.metrics import Metrics
from service.middleware.body_limit import BodyLimitMiddleware
from service.middleware.errors import ErrorsMiddleware
from service.middleware.observe import ObserveMiddleware
from service.middleware.request_id import RequestIdMiddleware
from service.models import ModelRepository, load_models
from service.runtime import running
from service.settings import Settings, load_settings

_DESCRIPTION = """Find people and their poses in pictures.

Send a picture to `POST /pose`, get skeletons back: 18 named keypoints per person, in pixels of the upright picture.
Every error is a problem object (RFC 9457) that says what was wrong and what would be right. Pictures are never stored.
"""


def create_app(settings: Settings | None = None, models_loaded: ModelRepository | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: read from the environment if None.
        models_loaded: what to serve; loaded at start-up as the settings say if None.
    """
    checked = settings or load_settings()
    counters = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        repository = models_loaded or await asyncio.to_thread(load_models, checked)
        async with running(checked, repository, counters) as runtime:
            app.state.runtime = runtime
            yield

    app = FastAPI(
        title="YAOP",
        summary="OpenPose as a service",
        description=_DESCRIPTION,
        version=_version(),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.stopping = threading.Event()  # set by whoever runs it, once it is to end
    problems.install(app)
    _add_middleware(app, checked, counters)
    for resource in (pose, videos, stream, models, health, metrics, page):
        app.include_router(resource.router)
    page.mount_static(app)
    return app


def _add_middleware(app: FastAPI, settings: Settings, counters: Metrics) -> None:
    """The last one added is the outermost: ids, then logs and metrics, then errors, then limits."""
    app.add_middleware(BodyLimitMiddleware, limit=settings.max_body_bytes, exempt={"/videos"})
    app.add_middleware(ErrorsMiddleware)
    app.add_middleware(ObserveMiddleware, metrics=counters)
    app.add_middleware(RequestIdMiddleware)


def _version() -> str:
    try:
        return version("yaop")
    except PackageNotFoundError:
        return "0"
