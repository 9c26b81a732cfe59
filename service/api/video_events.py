"""Server-sent events of a video job."""

from __future__ import annotations

import asyncio
from asyncio import sleep
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from fastapi.sse import EventSourceResponse, format_sse_event

from service.jobs.job import Job

_POLL_SECONDS = 0.5
_CALM_POLL_SECONDS = 1.0
_CALM_AFTER_SECONDS = 10.0  # short videos, and pages that have just been opened, get quick news
_KEEP_ALIVE_SECONDS = 15.0
_RETRY_MILLISECONDS = 2000
_STATE_STEP = 1_000_000_000  # more frames than a video may have

# However many listen, all other work has its threads.
_looks = ThreadPoolExecutor(2, "yaop-events")

Look = Callable[[], Job | None]
"""Gives the job as it is now; None once it is deleted. It blocks."""


def event_id(job: Job) -> int:
    """Grows while a job goes on, and depends on nothing but the job: any process can resume after it."""
    if job.finished:
        return 2 * _STATE_STEP
    begun = job.state == "running" or job.frames_done > 0  # a job that waits for another worker has begun
    return _STATE_STEP * begun + job.frames_done


def parse_event_id(text: str | None) -> int:
    """The id in a ``Last-Event-ID`` header; -1, from where all events follow, for none or for a strange one."""
    return int(text) if text and text.isdecimal() and len(text) < 20 else -1


def events_response(job: Job, look: Look, last: int, is_stopping: Callable[[], bool]) -> EventSourceResponse:
    """Tell of a job until it is finished.

    Args:
        job: as it is now.
        look: gives it later.
        last: id of the last event that the client has.
        is_stopping: whether the service is about to stop; then the events end, and the client comes back.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_events(job, look, last, is_stopping), headers=headers)


async def _events(job: Job, look: Look, last: int, is_stopping: Callable[[], bool]) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    began = spoke = monotonic()
    while True:
        if event_id(job) > last:
            last, spoke = event_id(job), monotonic()
            yield _event(job, last)
        elif monotonic() - spoke >= _KEEP_ALIVE_SECONDS:
            spoke = monotonic()
            yield format_sse_event(comment="keep-alive")
        if job.finished or is_stopping():
            return
        calm = monotonic() - began >= _CALM_AFTER_SECONDS
        await sleep(_CALM_POLL_SECONDS if calm else _POLL_SECONDS)
        seen = await asyncio.get_running_loop().run_in_executor(_looks, look)
        if seen is None:
            return
        job = seen


def _event(job: Job, number: int) -> bytes:
    kind = "done" if job.finished else "progress"
    return format_sse_event(event=kind, id=str(number), data_str=job.model_dump_json())
