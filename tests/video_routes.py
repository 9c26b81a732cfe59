"""Answers for the page's calls of ``/videos``, made in the browser test itself: every state of a job, at will."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Request, Route

from service.jobs.job import Job, JobOutput
from service.jobs.options import VideoOptions
from service.media.probe import VideoInfo, probe_video
from service.problems import Problem, ProblemDetails
from shared.schema import ModelRef
from tests.clips import make_clip

MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".avi": "video/x-msvideo"}


@cache
def source() -> VideoInfo:
    """A video as the service sees it."""
    with TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", frames=3)
        facts = {"stored_width": 1280, "stored_height": 720, "frames": 300, "seconds": 10.0, "fps": 30.0}
        return probe_video(clip).model_copy(update=facts)


def job(job_id: str, state: str = "queued", done: int = 0, *, filename: str = "dance.mp4", **changes: Any) -> Job:
    """A job in some state."""
    created = datetime.now(UTC) - timedelta(minutes=3)
    path = f"/videos/{job_id}"
    facts: dict[str, Any] = {
        "id": job_id, "state": state, "filename": filename, "bytes": 4_200_000, "created_at": created,
        "options": VideoOptions.model_validate({}), "source": source(), "frames_done": done, "frames_total": 300,
        "links": {"self": path, "events": f"{path}/events"},
    }  # fmt: skip
    if state == "running":
        facts |= {"started_at": created, "fps": 41.3, "eta_seconds": (300 - done) / 41.3}
    return Job.model_validate(facts | changes)


def done(
    job_id: str, *, suffix: str = ".mp4", codec: str = "h264", size: tuple[int, int] = (1280, 720), **more: Any
) -> Job:
    """A job that succeeded."""
    output = JobOutput(
        codec=codec, media_type=MEDIA_TYPES[suffix], suffix=suffix, bytes=3_100_000, frames=300, seconds=10.0,
        width=size[0], height=size[1], people_seen=3, model=ModelRef(name="mobilenet_fpn", version="1.2.0"),
    )  # fmt: skip
    path = f"/videos/{job_id}"
    links = {name: f"{path}/{name}" for name in ("events", "video", "poses", "poster")} | {"self": path}
    begun = datetime.now(UTC) - timedelta(minutes=3)
    times = {"started_at": begun, "finished_at": begun + timedelta(seconds=7.4)}
    return job(job_id, "succeeded", 300, output=output, links=links, **{**times, **more})


def failed(job_id: str, kind: str, detail: str, **more: Any) -> Job:
    """A job that failed."""
    return job(job_id, "failed", error=problem(422, kind, detail), **more)


def problem(status: int, kind: str, detail: str) -> ProblemDetails:
    """What an error looks like."""
    return Problem(status, kind, detail).details("r-123")


@dataclass
class VideoRoutes:
    """The service's side. What it says is in its attributes, which a test changes as it goes.

    Attributes:
        jobs: by id, the oldest first.
        streams: by id: what each connection to the events gets, one after the other: jobs, or a problem; a callable
            is asked. After the last, the job as it is.
        upload: what a POST is answered with.
        files: by path below a job, e.g. ``video``.
        asked: requests that came.
    """

    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    streams: dict[str, list[list[Job] | ProblemDetails]] = field(default_factory=dict[str, Any])
    upload: Callable[[Request], Job | ProblemDetails] | None = None
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    asked: list[Request] = field(default_factory=list[Request])
    page_size: int = 10

    def add(self, *jobs: Job) -> None:
        """Jobs that the service has."""
        self.jobs.update({one.id: one for one in jobs})

    def serve_file(self, name: str, path: Path, media_type: str) -> None:
        """Answer ``/videos/ID/NAME`` with this file."""
        self.files[name] = (media_type, path.read_bytes())

    def install(self, page: Page) -> None:
        """Answer this page's calls."""
        page.route(re.compile(r"/videos(?:[/?]|$)"), self._answer)

    def calls(self, method: str, end: str) -> list[Request]:
        """Those requests whose path ends so."""
        return [one for one in self.asked if one.method == method and urlsplit(one.url).path.endswith(end)]

    def _answer(self, route: Route) -> None:
        request = route.request
        self.asked.append(request)
        url = urlsplit(request.url)
        _, _, job_id, *rest = [*url.path.split("/"), ""] if url.path.count("/") < 2 else url.path.split("/")
        if not job_id:
            answer = self._post(request) if request.method == "POST" else self._list(parse_qs(url.query))
        elif job_id not in self.jobs:
            answer = problem(404, "no-such-video", f"There is no video {job_id}.")
        elif rest == ["events"]:
            answer = self._events(job_id)
        elif rest:
            answer = self.files.get(rest[0], problem(404, "not-found", "Nothing here."))
        else:
            answer = self._delete(job_id) if request.method == "DELETE" else self.jobs[job_id]
        _fulfil(route, answer)

    def _post(self, request: Request) -> Any:
        assert self.upload
        answer = self.upload(request)
        if isinstance(answer, Job):
            self.add(answer)
        return answer

    def _list(self, query: dict[str, list[str]]) -> Any:
        ids = list(reversed(self.jobs))
        if "before" in query:
            ids = ids[ids.index(query["before"][0]) + 1 :]
        shown = ids[: self.page_size]
        following = shown[-1] if len(ids) > len(shown) else None
        return {"videos": [self.jobs[one].model_dump(mode="json") for one in shown], "next": following}

    def _events(self, job_id: str) -> Any:
        streams = self.streams.get(job_id)
        answer = streams.pop(0) if streams else [self.jobs[job_id]]
        if isinstance(answer, list):
            for one in answer:
                self.jobs[job_id] = one
        return answer

    def _delete(self, job_id: str) -> Any:
        one = self.jobs[job_id]
        if one.finished:
            del self.jobs[job_id]
        else:
            self.jobs[job_id] = one.model_copy(update={"state": "cancelled"})
        return None


def _fulfil(route: Route, answer: Any) -> None:
    match answer:
        case None:
            route.fulfill(status=204)
        case ProblemDetails():
            body = answer.model_dump_json(exclude_none=True)
            route.fulfill(status=answer.status, content_type="application/problem+json", body=body)
        case Job():
            status = 202 if route.request.method == "POST" else 200
            route.fulfill(status=status, content_type="application/json", body=answer.model_dump_json())
        case list():
            jobs: list[Job] = answer
            route.fulfill(content_type="text/event-stream", body=": hello\n\n" + "".join(map(_event, jobs)))
        case (str() as media_type, bytes() as body):
            route.fulfill(content_type=media_type, body=body)
        case _:
            route.fulfill(content_type="application/json", body=json.dumps(answer))


def _event(one: Job) -> str:
    kind = "done" if one.finished else "progress"
    return f"id: {one.frames_done}\nevent: {kind}\ndata: {one.model_dump_json()}\n\n"
