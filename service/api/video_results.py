"""What comes out of a video job: the annotated video, the people of its frames, a poster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from service.api.deps import StorageDep
from service.api.video_examples import POSES_EXAMPLE, video_problem_responses
from service.api.video_files import content_disposition, file_response
from service.api.video_jobs import FinishedJobDep
from service.jobs.job import POSES, POSTER, Job
from service.jobs.storage import Storage
from service.media.pose_files import coco_stream, csv_stream, openpose_stream, read_frames, require_layout
from service.problems import Problem, invalid_parameter
from service.wire import PosesFormat
from shared.schema import LayoutError

router = APIRouter(tags=["videos"])


_BINARY = {"type": "string", "format": "binary"}
_POSES_ANSWER = {
    "description": "The people of all frames.",
    "content": {
        "application/x-ndjson": {"schema": {"type": "string"}, "example": POSES_EXAMPLE},
        "text/csv": {"schema": {"type": "string"}},
        "application/zip": {"schema": _BINARY},
        "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}
_PARTIAL = {206: {"description": "The ranges that were asked for."}, 304: {"description": "The client has it."}}
_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "openpose": "application/zip", "coco": "application/json"}


class PosesQuery(BaseModel):
    """In which form the people are asked for."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[PosesFormat, BeforeValidator(lambda value: str(value).lower())] = Field(
        "native",
        description="`native`: JSON Lines, a line for each frame. `csv`: a row for each keypoint that was seen. "
        "`openpose`: a zip archive of a file for each frame. `coco`: one list of COCO results, `image_id` is the "
        "number of the frame.",
    )


@router.head("/videos/{video_id}/video", include_in_schema=False)
@router.get(
    "/videos/{video_id}/video",
    summary="Get the annotated video",
    response_class=Response,
    responses={
        200: {
            "description": "The file; ranges of it can be asked for.",
            "content": {media: {"schema": _BINARY} for media in ("video/mp4", "video/webm", "video/x-msvideo")},
        },
        **_PARTIAL,
        **video_problem_responses(404, 409, 416, 422, 503),
    },
)
async def get_video(request: Request, job: FinishedJobDep, storage: StorageDep) -> Response:
    """The annotated video, with the sound of the source."""
    assert job.output is not None
    path = await _fetch(storage, job, f"video{job.output.suffix}")
    name, media_type = f"{_stem(job)}_poses{job.output.suffix}", job.output.media_type
    return file_response(request, path, etag=_etag(job, "video"), filename=name, media_type=media_type, shown=True)


@router.head("/videos/{video_id}/poses", include_in_schema=False)
@router.get(
    "/videos/{video_id}/poses",
    summary="Get the people of all frames",
    response_class=Response,
    responses={200: _POSES_ANSWER, **_PARTIAL, **video_problem_responses(404, 409, 416, 422, 503)},
)
async def get_poses(
    request: Request, query: Annotated[PosesQuery, Query()], job: FinishedJobDep, storage: StorageDep
) -> Response:
    """JSON Lines, one frame a line with its index, time stamp and people; or another layout of the same."""
    path = await _fetch(storage, job, POSES)
    stem = _stem(job)
    if query.format == "native":
        etag, name = _etag(job, "poses"), f"{stem}_poses.jsonl"
        return file_response(request, path, etag=etag, filename=name, media_type="application/x-ndjson", shown=False)
    try:
        await asyncio.to_thread(require_layout, path, query.format)
    except LayoutError as error:
        raise invalid_parameter("format", str(error)) from None
    return _converted(path, query.format, stem)


@router.head("/videos/{video_id}/poster", include_in_schema=False)
@router.get(
    "/videos/{video_id}/poster",
    summary="Get a picture of the video",
    response_class=Response,
    responses={
        200: {"description": "A small JPEG.", "content": {"image/jpeg": {"schema": _BINARY}}},
        **_PARTIAL,
        **video_problem_responses(404, 409, 416, 422, 503),
    },
)
async def get_poster(request: Request, job: FinishedJobDep, storage: StorageDep) -> Response:
    """One of its annotated frames."""
    path = await _fetch(storage, job, POSTER)
    name = f"{_stem(job)}_poster.jpg"
    return file_response(request, path, etag=_etag(job, "poster"), filename=name, media_type="image/jpeg", shown=True)


async def _fetch(storage: Storage, job: Job, name: str) -> Path:
    try:
        return await asyncio.to_thread(storage.fetch, job.id, name)
    except FileNotFoundError:
        raise Problem(404, "file-not-found", f"The video {job.id} has no {name}, or not any more.") from None


def _converted(path: Path, layout: PosesFormat, stem: str) -> Response:
    frames = read_frames(path)
    if layout == "openpose":
        body, name = openpose_stream(frames, stem), f"{stem}_openpose.zip"
    elif layout == "coco":
        body, name = coco_stream(frames), f"{stem}_coco.json"
    else:
        body, name = csv_stream(frames), f"{stem}_poses.csv"
    headers = {"Content-Disposition": content_disposition(name), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(body, headers=headers, media_type=_MEDIA_TYPES[layout])


def _stem(job: Job) -> str:
    return Path(job.filename or "video").stem or "video"


def _etag(job: Job, what: str) -> str:
    assert job.output is not None
    return f"{job.id}-{what}-{job.output.bytes}"
