"""The port of a worker: is it alive, is it ready, and its metrics. Only where `YAOP_WORKER_PORT` asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.http.choice import http_protocol
from service.listening import bind, url_of
from service.metrics import ProcessMetrics
from service.middleware.errors import ErrorsMiddleware
from service.problems import Problem
from service.settings import Settings

State = Literal["starting", "working", "stopping"]

_PATHS = "/health/live, /health/ready and /metrics"
_SECONDS_TO_END = 2


def worker_app(metrics: ProcessMetrics, state: Callable[[], State]) -> Starlette:
    """The application; `state` is the worker's at the moment."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_request: Request) -> Response:
        problem = _why_not_ready(state(), metrics.jobs.database_answers)
        return problem.response() if problem else JSONResponse({"status": "ready"})

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", show_metrics)]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _on_http_exception})
    app.add_middleware(ErrorsMiddleware)
    return app


@contextmanager
def listening(settings: Settings, metrics: ProcessMetrics, state: Callable[[], State]) -> Iterator[str | None]:
    """Answer on the worker's port until the end of the block. Gives the URL; None if the worker is to have no port.

    Raises:
        SettingsError: the port cannot be listened on.
    """
    if not settings.worker_port:
        yield None
        return
    with bind(settings.host, settings.worker_port, "WORKER_PORT") as listener:
        config = uvicorn.Config(
            worker_app(metrics, state),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http=http_protocol(settings.header_timeout),
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="yaop-worker-port", daemon=True)
        thread.start()
        try:
            yield url_of(listener, settings.host)
        finally:
            server.should_exit = True
            thread.join(2 * _SECONDS_TO_END)


def _why_not_ready(state: State, database_answers: bool) -> Problem | None:
    if state == "stopping":
        return Problem(503, "shutting-down", "The worker is shutting down.")
    if state == "starting":
        return Problem(503, "not-ready", "The worker has not opened the queue of jobs yet.")
    if not database_answers:
        return Problem(503, "not-ready", "The database of the jobs does not answer.")
    return None


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = f"There is nothing at {request.url.path}. A worker has {_PATHS}."
    if error.status_code == 405:
        detail = f"{request.url.path} does not take {request.method}; it takes GET."
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http-error")
    return Problem(error.status_code, kind, detail, headers=error.headers).response()
