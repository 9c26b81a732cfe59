"""``POST /pose`` and ``POST /pose/batch``: the people in pictures."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

from service.api.deps import ModelsDep, PipelineDep, SettingsDep
from service.api.examples import BATCH_EXAMPLE, COCO_EXAMPLE, FRAME_EXAMPLE, OPENPOSE_EXAMPLE, problem_responses
from service.disconnect import unless_gone
from service.models import LoadedModel
from service.negotiation import picture_format
from service.pipeline import Pipeline
from service.problems import ProblemDetails, problem_of
from service.queries import EstimateQuery, PoseQuery
from service.rendering import fields_response, json_response, picture_response, to_wire
from service.uploads import Part, read_picture, read_pictures
from shared.schema import CocoResult, Frame, OpenPoseFrame

router = APIRouter(tags=["pose"])

_BINARY = {"type": "string", "format": "binary"}
_PICTURE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "required": ["image"], "properties": {"image": _BINARY}}},
        **{media: {"schema": _BINARY} for media in ("image/jpeg", "image/png", "image/webp", "image/bmp")},
        "application/octet-stream": {"schema": _BINARY},
    },
}
_PICTURES_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {"images": {"type": "array", "items": _BINARY}},
            }
        }
    },
}
_POSE_ANSWER = {
    "description": "The people in the picture (an empty list if there is nobody), the overlay, or the fields.",
    "content": {
        "application/json": {
            "examples": {
                "native": {"value": FRAME_EXAMPLE},
                "openpose": {"value": OPENPOSE_EXAMPLE},
                "coco": {"value": COCO_EXAMPLE},
            }
        },
        "image/jpeg": {"schema": _BINARY},
        "image/png": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    },
}


class BatchItem(BaseModel):
    """What one picture of a batch got: a result or a problem."""

    filename: str | None = Field(description="As given in the part.")
    result: Frame | OpenPoseFrame | list[CocoResult] | None = Field(description="In the layout asked for.")
    problem: ProblemDetails | None = Field(description="Why there is no result.")


class BatchResult(BaseModel):
    """One item for each picture, in the order they were sent."""

    results: list[BatchItem]


@router.post(
    "/pose",
    summary="Find the people in a picture",
    response_model=Frame | OpenPoseFrame | list[CocoResult],
    responses={200: _POSE_ANSWER, **problem_responses(400, 413, 415, 422, 500, 503)},
    openapi_extra={"requestBody": _PICTURE_BODY},
)
async def estimate_pose(
    request: Request, query: Annotated[PoseQuery, Query()], models: ModelsDep, pipeline: PipelineDep
) -> Response:
    """Send a JPEG, PNG, WebP or BMP picture as the body, or as the multipart part `image`.

    EXIF orientation is applied, and all coordinates are pixels of the upright picture. Nothing is stored.
    """
    pipeline.require_room()
    model = query.select_model(models)
    data = await read_picture(request)
    accept = request.headers.get("accept", "")
    return await unless_gone(request, _answer(pipeline, model, data, query, accept))


@router.post(
    "/pose/batch",
    summary="Find the people in several pictures",
    response_model=BatchResult,
    responses={
        200: {"content": {"application/json": {"example": BATCH_EXAMPLE}}},
        **problem_responses(400, 413, 415, 422, 500, 503),
    },
    openapi_extra={"requestBody": _PICTURES_BODY},
)
async def estimate_batch(
    request: Request,
    query: Annotated[EstimateQuery, Query()],
    models: ModelsDep,
    pipeline: PipelineDep,
    settings: SettingsDep,
) -> Response:
    """Send several pictures as multipart parts named `images`.

    Each gets a result or a problem of its own, in order. With `format=coco` the first picture's `image_id` is
    the one given, and the others count on from there.
    """
    pipeline.require_room()
    model = query.select_model(models)
    parts = await read_pictures(request, settings.max_batch_images)
    # As many at a time as can be worked on: the rest must not fill the queue that others wait in.
    turn = asyncio.Semaphore(max(settings.workers, model.batch_limit))
    items = (_batch_item(pipeline, model, part, query, index, turn) for index, part in enumerate(parts))
    results = await unless_gone(request, _gather(items))
    return Response(to_json({"results": results}), media_type="application/json")


async def _answer(pipeline: Pipeline, model: LoadedModel, data: bytes, query: PoseQuery, accept: str) -> Response:
    if query.fields:
        return fields_response(await pipeline.fields(data, model, query.options()))
    estimate = await pipeline.estimate(data, model, query.options())
    image_format = picture_format(query.draw, accept)
    if image_format is None:
        return json_response(estimate, query.format, query.image_id)
    return picture_response(await pipeline.overlay(data, estimate, image_format), image_format, estimate)


async def _gather(items: Any) -> list[dict[str, Any]]:
    async with asyncio.TaskGroup() as group:  # cancels all of them if the client hangs up
        tasks = [group.create_task(item) for item in items]
    return [task.result() for task in tasks]


async def _batch_item(
    pipeline: Pipeline, model: LoadedModel, part: Part, query: EstimateQuery, index: int, turn: asyncio.Semaphore
) -> dict[str, Any]:
    async with turn:
        try:
            estimate = await pipeline.estimate(part.data, model, query.options())
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            details = problem.details().model_dump(exclude_none=True)
            return {"filename": part.filename, "result": None, "problem": details}
    result = to_wire(estimate, query.format, index=index, image_id=query.image_id + index)
    return {"filename": part.filename, "result": result, "problem": None}
