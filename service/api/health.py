"""``/health``: for probes and load balancers. Limits on load never apply to it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from service.api.deps import RuntimeDep
from service.api.examples import problem_responses
from service.problems import Problem

router = APIRouter(prefix="/health", tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Pictures will be estimated."""

    status: Literal["ready"] = "ready"
    models: list[str]


@router.get("/live", summary="Is the process alive?")
async def live() -> Alive:
    """Answers as long as the process does."""
    return Alive()


@router.get("/ready", summary="Will pictures be estimated?", responses=problem_responses(503))
async def ready(request: Request, runtime: RuntimeDep) -> Ready:
    """Answers 200 once the models are loaded and until the shutdown begins."""
    if request.app.state.stopping.is_set():  # a balancer may still ask while streams and requests end
        raise Problem(503, "shutting-down", "The service is shutting down.", headers={"Connection": "close"})
    if not runtime.batcher.alive:
        raise Problem(503, "not-ready", "The engine's queue is not running.", headers={"Retry-After": "5"})
    return Ready(models=runtime.served.current.names)
