"""What routes ask for, as annotated aliases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection

from service.jobs.intake import Intake
from service.jobs.room import Room
from service.jobs.start import video_limits
from service.jobs.storage import Storage
from service.models import ModelRepository
from service.pipeline import Pipeline
from service.problems import Problem
from service.runtime import Runtime
from service.settings import Settings

if TYPE_CHECKING:
    from service.jobs.queue import JobQueue
else:
    JobQueue = object  # FastAPI looks the name up, and the module costs a second


def get_runtime(connection: HTTPConnection) -> Runtime:
    """The running parts of the application that got this request or WebSocket."""
    return connection.app.state.runtime


async def get_models(request: Request) -> AsyncIterator[ModelRepository]:
    """Its loaded models, which stay as they are until the request is answered, whatever is reloaded meanwhile."""
    with get_runtime(request).served.use() as models:
        yield models


def get_pipeline(request: Request) -> Pipeline:
    """Its pipeline."""
    return get_runtime(request).pipeline


def get_settings(request: Request) -> Settings:
    """Its settings."""
    return get_runtime(request).settings


SettingsDep = Annotated[Settings, Depends(get_settings)]


async def get_jobs(request: Request) -> JobQueue:
    """Its queue of video jobs.

    Raises:
        Problem: 503, it takes no videos, or cannot now.
    """
    jobs = get_runtime(request).jobs
    if jobs is None:
        raise Problem(503, "no-video-jobs", "This service was started to take no videos.")
    return await jobs.get()


def get_storage(request: Request) -> Storage:
    """Its storage of the jobs' files."""
    return get_runtime(request).storage


JobsDep = Annotated[JobQueue, Depends(get_jobs)]
StorageDep = Annotated[Storage, Depends(get_storage)]


def get_intake(jobs: JobsDep, storage: StorageDep, settings: SettingsDep) -> Intake:
    """What takes videos in."""
    room = Room(jobs, storage, max_jobs=settings.max_jobs, max_bytes=settings.max_artifact_bytes)
    return Intake(jobs, storage, room, video_limits(settings), max_bytes=settings.max_video_bytes)


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
ModelsDep = Annotated[ModelRepository, Depends(get_models)]
PipelineDep = Annotated[Pipeline, Depends(get_pipeline)]
IntakeDep = Annotated[Intake, Depends(get_intake)]
