"""``GET /metrics``: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from service.api.deps import RuntimeDep

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": "yaop_queue_depth 0.0\n"}}}},
)
async def metrics(runtime: RuntimeDep) -> Response:
    """Requests, latencies, queue depth, batch sizes, engine time, people found."""
    return Response(runtime.metrics.render(), media_type=CONTENT_TYPE_LATEST)
