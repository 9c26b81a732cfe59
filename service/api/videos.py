"""``/videos``: videos as jobs that go on whatever happens to the client or to the service."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.api import video_results
from service.api.deps import IntakeDep, JobsDep, RuntimeDep, StorageDep
from service.api.video_events import event_id, events_response, parse_event_id
from service.api.video_examples import EVENTS_EXAMPLE, JOB_EXAMPLE, video_problem_responses
from service.api.video_jobs import JobDep, with_links
from service.jobs.job import Job
from service.jobs.options import VideoOptions
from service.jobs.storage import is_job_id
from service.problems import invalid_parameter

router = APIRouter(tags=["videos"])

_BINARY = {"type": "string", "format": "binary"}
_VIDEO_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["video"],
                "properties": {"video": _BINARY},
                "additionalProperties": {
                    "type": "string",
                    "description": "Any option of the query; the order of the parts does not matter.",
                },
            }
        },
        **{media: {"schema": _BINARY} for media in ("video/mp4", "video/quicktime", "video/x-msvideo")},
        **{media: {"schema": _BINARY} for media in ("video/x-matroska", "video/webm", "application/octet-stream")},
    },
}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Where the job is."}}
_JOB_CONTENT = {"application/json": {"example": JOB_EXAMPLE}}


class VideoList(BaseModel):
    """A page of jobs, newest first."""

    videos: list[Job]
    next: str | None = Field(description="Give this as `before` to get the next page; null on the last one.")


class ListQuery(BaseModel):
    """Which page of the list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="Most jobs in the answer.")
    before: str | None = Field(None, description="Id of a job: only older ones are listed.")


@router.post(
    "/videos",
    summary="Annotate a video",
    status_code=202,
    response_model=Job,
    responses={
        202: {"description": "It will be done.", "headers": _LOCATION, "content": _JOB_CONTENT},
        200: {"description": "The same key was sent before: its job.", "headers": _LOCATION, "model": Job},
        **video_problem_responses(400, 408, 413, 415, 422, 503, 507),
    },
    openapi_extra={"requestBody": _VIDEO_BODY},
)
async def submit_video(
    request: Request,
    options: Annotated[VideoOptions, Query()],
    intake: IntakeDep,
    runtime: RuntimeDep,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="Any text of your own. Sending the same video and options with it again gives the same job.",
        ),
    ] = None,
) -> Response:
    """Send an MP4, MOV, AVI, Matroska or WebM file as the body, or as the multipart part `video`.

    It is checked at once and then worked on until it is done, whatever happens to the client or the service meanwhile.
    The options may be fields of the form, too.
    """
    accepted = await intake.accept(request, options, lambda: runtime.served.current, key)
    job = with_links(accepted.job)
    headers = {"Location": job.links["self"]}
    return _json(job, 202 if accepted.new else 200, headers)


@router.get("/videos", summary="List the videos", response_model=VideoList, responses=video_problem_responses(422, 503))
async def list_videos(query: Annotated[ListQuery, Query()], jobs: JobsDep) -> Response:
    """All videos, newest first, page by page."""
    if query.before is not None and not is_job_id(query.before):
        raise invalid_parameter("before", "must be the id of a video")
    found = await asyncio.to_thread(jobs.list, limit=query.limit + 1, before=query.before)
    page = [with_links(job) for job in found[: query.limit]]
    return _json(VideoList(videos=page, next=page[-1].id if len(found) > len(page) else None))


@router.get(
    "/videos/{video_id}",
    summary="Show a video",
    response_model=Job,
    responses={200: {"content": _JOB_CONTENT}, **video_problem_responses(404, 422, 503)},
)
async def show_video(job: JobDep) -> Response:
    """How far it is, what was wrong with it, and where its result is."""
    return _json(job)


@router.delete(
    "/videos/{video_id}",
    summary="Cancel or delete a video",
    response_model=Job,
    responses={204: {"description": "It was finished, and is deleted."}, **video_problem_responses(404, 422, 503)},
)
async def delete_video(job: JobDep, jobs: JobsDep, storage: StorageDep) -> Response:
    """Cancel it if it is not finished: the work ends with the chunk of frames at hand. Delete it if it is."""
    if job.finished:
        await asyncio.to_thread(storage.remove, job.id)
        await asyncio.to_thread(jobs.delete, job.id)
        return Response(status_code=204)
    cancelled = await asyncio.to_thread(jobs.cancel, job.id)
    return _json(with_links(cancelled or job))


@router.get(
    "/videos/{video_id}/events",
    summary="Follow a video",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events: `progress` whenever it got on, `done` at the end; data: the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EVENTS_EXAMPLE}},
        },
        204: {"description": "The client has the last event already."},
        **video_problem_responses(404, 422, 503),
    },
)
async def follow_video(
    request: Request,
    job: JobDep,
    jobs: JobsDep,
    last: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Id of the last event that the client has.")
    ] = None,
) -> Response:
    """Its progress as it happens. The connection may break: ids of events stay valid, also over restarts."""
    seen = parse_event_id(last)
    if job.finished and event_id(job) <= seen:
        return Response(status_code=204)  # tells an EventSource not to come back

    def look() -> Job | None:
        found = jobs.get(job.id)
        return found and with_links(found)

    return events_response(job, look, seen, lambda: _is_stopping(request))


def _json(answer: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    no_store = {"Cache-Control": "no-store"}
    return Response(answer.model_dump_json(), status, no_store | (headers or {}), "application/json")


def _is_stopping(request: Request) -> bool:
    """Whether the server is about to stop, which it can only once its answers have ended."""
    return request.app.state.stopping.is_set()


router.include_router(video_results.router)
