"""A queue of video jobs in memory, and the application on it, for tests of what is around the queue."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.deps import get_jobs
from service.app import create_app
from service.jobs.job import Job, JobOutput, JobSpec, JobState
from service.jobs.options import VideoOptions
from service.jobs.storage import Storage
from service.media.probe import VideoInfo
from service.settings import Settings
from shared.schema import ModelRef
from tests.fake_engine import DiscEngine, fake_models

START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = VideoInfo(
    container="mp4",
    codec="h264",
    pixel_format="yuv420p",
    stored_width=160,
    stored_height=120,
    matrix="bt601",
    frames=30,
    seconds=1.0,
    fps=30.0,
    variable=False,
    rotation=0,
    mirrored=False,
    sample_aspect=(1, 1),
    audio=None,
    seekable=True,
    warnings=[],
    time_base=(1, 15360),
    first_pts=0,
    step=512,
    by_order=False,
    ends_early=False,
)


class FakeJobs:
    """Has the interface of `service.jobs.queue.JobQueue`; nothing works on its jobs but the test.

    Attributes:
        failure: raised by `submit` while it is set.
        rival: submitted first by the next `submit`, as another process would.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.specs: dict[str, JobSpec] = {}
        self.failure: Exception | None = None
        self.rival: JobSpec | None = None
        self.looks = itertools.count()
        self._lock = threading.Lock()

    def submit(self, spec: JobSpec) -> Job:
        rival, self.rival = self.rival, None
        if rival is not None:
            self.submit(rival)
        if self.failure is not None:
            raise self.failure
        with self._lock:
            earlier = self.find(spec.idempotency_key) if spec.idempotency_key else self.jobs.get(spec.id)
            if earlier is not None:
                return earlier
            self.specs[spec.id] = spec
            self.jobs[spec.id] = Job(
                id=spec.id,
                state="queued",
                filename=spec.filename,
                bytes=spec.bytes,
                created_at=START + timedelta(seconds=len(self.jobs)),
                options=spec.options,
                source=spec.source,
                frames_done=0,
                frames_total=spec.frames_total,
            )
            return self.jobs[spec.id]

    def get(self, job_id: str) -> Job | None:
        next(self.looks)
        return self.jobs.get(job_id)

    def find(self, idempotency_key: str) -> Job | None:
        return next((self.jobs[i] for i, spec in self.specs.items() if spec.idempotency_key == idempotency_key), None)

    def list(self, *, limit: int, before: str | None = None) -> list[Job]:
        ids = sorted((i for i in self.jobs if before is None or i < before), reverse=True)
        return [self.jobs[i] for i in ids[:limit]]

    def cancel(self, job_id: str) -> Job | None:
        if job_id in self.jobs and not self.jobs[job_id].finished:
            self.change(job_id, state="cancelled", finished_at=START)
        return self.jobs.get(job_id)

    def delete(self, job_id: str) -> bool:
        self.specs.pop(job_id, None)
        return self.jobs.pop(job_id, None) is not None

    def counts(self) -> dict[JobState, int]:
        states = [job.state for job in self.jobs.values()]
        return {"queued": states.count("queued"), "running": states.count("running")}

    def add(self, job_id: str, **changes: Any) -> Job:
        """A job that is there from the start."""
        spec = JobSpec(id=job_id, bytes=5, options=VideoOptions(), source=SOURCE, frames_total=30)
        self.submit(spec)
        return self.change(job_id, **changes)

    def change(self, job_id: str, **changes: Any) -> Job:
        """What happens to a job while it is worked on."""
        self.jobs[job_id] = self.jobs[job_id].model_copy(update=changes)
        return self.jobs[job_id]


def output(size: int, codec: str = "h264", media_type: str = "video/mp4", suffix: str = ".mp4") -> JobOutput:
    """The result of a job whose file has `size` bytes."""
    model = ModelRef(name="discs", version="1.2.3")
    return JobOutput(
        codec=codec,
        media_type=media_type,
        suffix=suffix,
        bytes=size,
        frames=30,
        seconds=1.0,
        width=160,
        height=120,
        people_seen=1,
        model=model,
    )


def build_videos(data_dir: Path, jobs: FakeJobs, **settings: Any) -> FastAPI:
    """The application on this queue, with its files in `data_dir`."""
    given = {"deadline": 120, "videos": False, "data_dir": data_dir, **settings}
    app = create_app(Settings(**given), fake_models(DiscEngine()))
    app.dependency_overrides[get_jobs] = lambda: jobs
    return app


@contextmanager
def serving_videos(data_dir: Path, jobs: FakeJobs | None = None, **settings: Any) -> Iterator[TestClient]:
    """A client of that application while it runs."""
    app = build_videos(data_dir, jobs or FakeJobs(), **settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def put(storage: Storage, job_id: str, name: str, data: bytes) -> None:
    """Store an artifact."""
    file = storage.scratch(job_id) / "new"
    file.write_bytes(data)
    storage.put(job_id, name, file)
    storage.drop_scratch(job_id)
