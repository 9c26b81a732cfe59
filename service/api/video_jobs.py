"""The job that a path of ``/videos`` names, for all routes below it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends

from service.api.deps import JobsDep
from service.jobs.job import Job
from service.jobs.storage import is_job_id
from service.problems import Problem


async def find_job(video_id: str, jobs: JobsDep) -> Job:
    """The job of the path.

    Raises:
        Problem: 404, there is none.
    """
    job = await asyncio.to_thread(jobs.get, video_id) if is_job_id(video_id) else None
    if job is None:
        raise Problem(404, "video-not-found", f"There is no video {video_id[:80]}, or not any more.")
    return with_links(job)


async def finished_job(job: Annotated[Job, Depends(find_job)]) -> Job:
    """The job of the path, if it succeeded.

    Raises:
        Problem: 404, there is none; 409, it has no result.
    """
    if job.state != "succeeded":
        raise Problem(409, "not-ready", _why_not_ready(job), state=job.state)
    return job


JobDep = Annotated[Job, Depends(find_job)]
FinishedJobDep = Annotated[Job, Depends(finished_job)]


def with_links(job: Job) -> Job:
    """The job with the paths that there is something at."""
    here = f"/videos/{job.id}"
    results = ("video", "poses", "poster") if job.state == "succeeded" else ()
    links = {"self": here, **{name: f"{here}/{name}" for name in ("events", *results)}}
    return job.model_copy(update={"links": links})


def _why_not_ready(job: Job) -> str:
    if job.state == "failed":
        return f"The video failed, so there is no result: {job.error.detail if job.error else 'unknown'}"
    if job.state == "cancelled":
        return "The video was cancelled, so there is no result."
    done = f"The video is {job.state}: {job.frames_done} of {job.frames_total} frames are done."
    return f"{done} GET {job.links['events']} tells when it is."
