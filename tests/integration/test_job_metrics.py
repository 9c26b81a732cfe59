"""Metrics of video jobs: what this process did, and what is in the database, while that can be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.testclient import TestClient

from service.jobs.job import JobState
from service.jobs.metrics import JobCounts, JobMetrics
from service.metrics import ProcessMetrics
from service.worker_port import State, worker_app
from tests import clips
from tests.api_client import PROBLEM, build
from tests.fake_engine import DiscEngine

COUNTS: dict[JobState, int] = {"queued": 3, "running": 1}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def series(text: str) -> dict[str, float]:
    """All samples that are about jobs."""
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(("yaop_job", "yaop_artifact"))]
    return {name: float(value) for name, value in samples}


def upload(client: TestClient, clip: Path, **options: Any) -> str:
    headers = {"Content-Type": "video/mp4"}
    answer = client.post("/videos", content=clip.read_bytes(), headers=headers, params={"resolution": "fast"} | options)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_what_becomes_of_jobs_is_counted(tmp_path: Path) -> None:
    engine = DiscEngine()
    clip = clips.discs_clip(tmp_path / "clip.mp4", frames=20)
    settings = {"videos": True, "job_concurrency": 1, "data_dir": tmp_path / "data", "max_artifact_bytes": 10**9}
    with TestClient(build(engine, **settings)) as client:

        def told() -> dict[str, float]:
            return series(client.get("/metrics").text)

        until(lambda: "yaop_artifact_bytes" in told())
        before = told()
        assert before["yaop_artifact_bytes"] == 0
        assert before["yaop_artifact_limit_bytes"] == 10**9
        engine.gate.clear()
        ids = [upload(client, clip) for _ in range(3)]
        until(lambda: [told().get(f"yaop_jobs_{name}") for name in ("running", "queued")] == [1, 2])
        client.delete(f"/videos/{ids[2]}")  # while it waits
        assert told()['yaop_jobs_finished_total{state="cancelled"}'] == 1
        engine.gate.set()
        until(lambda: told()['yaop_jobs_finished_total{state="succeeded"}'] == 2)
        assert told()["yaop_job_frames_total"] == 40
        engine.failure = RuntimeError("broken")
        upload(client, clip)
        until(lambda: told()['yaop_jobs_finished_total{state="failed"}'] == 1)


def test_a_running_job_that_is_cancelled_is_counted_once(tmp_path: Path) -> None:
    engine = DiscEngine()
    clip = clips.discs_clip(tmp_path / "long.mp4", frames=130)
    with TestClient(build(engine, videos=True, data_dir=tmp_path / "data")) as client:

        def cancelled() -> float:
            return series(client.get("/metrics").text)['yaop_jobs_finished_total{state="cancelled"}']

        engine.gate.clear()
        job = upload(client, clip)
        until(lambda: client.get(f"/videos/{job}").json()["state"] == "running")
        client.delete(f"/videos/{job}")
        assert cancelled() == 0  # its chunk is under way
        engine.gate.set()
        until(lambda: cancelled() > 0)
        assert cancelled() == 1


def test_a_service_without_videos_tells_its_queue_limit_and_of_no_database() -> None:
    with TestClient(build(queue_size=17, videos=False)) as client:
        text = client.get("/metrics").text
    assert "yaop_queue_limit 17.0" in text
    assert "yaop_jobs_database_up" not in series(text)


def test_all_counters_are_there_from_the_start() -> None:
    registry = CollectorRegistry()
    JobMetrics(registry)
    assert series(generate_latest(registry).decode()) == {
        'yaop_jobs_finished_total{state="cancelled"}': 0,
        'yaop_jobs_finished_total{state="failed"}': 0,
        'yaop_jobs_finished_total{state="succeeded"}': 0,
        "yaop_job_frames_total": 0,
    }


class Database:
    """Can be away."""

    def __init__(self) -> None:
        self.away = False
        self.reads = 0

    def count(self) -> JobCounts:
        self.reads += 1
        if self.away:
            raise OSError("connection refused")
        return COUNTS


def test_counts_are_absent_while_the_database_is_away() -> None:
    registry, database = CollectorRegistry(), Database()
    metrics = JobMetrics(registry)

    def told() -> tuple[float | None, ...]:
        now = series(generate_latest(registry).decode())
        return tuple(now.get(f"yaop_jobs_{name}") for name in ("database_up", "queued", "running"))

    with metrics.watching(database.count, seconds=0.02):
        until(lambda: told() == (1, 3, 1))
        database.away = True
        until(lambda: told() == (0, None, None))
        database.away = False
        until(lambda: told() == (1, 3, 1))
    assert told() == (None, None, None)


def test_reading_metrics_often_does_not_read_the_database_more_often() -> None:
    registry, database = CollectorRegistry(), Database()
    metrics = JobMetrics(registry)
    with metrics.watching(database.count):
        until(lambda: metrics.database_answers)
        for _ in range(100):
            generate_latest(registry)
        assert database.reads == 1


@pytest.mark.parametrize(
    ("state", "away", "status", "detail"),
    [
        ("starting", False, 503, "not opened the queue"),
        ("working", False, 200, ""),
        ("working", True, 503, "does not answer"),
        ("stopping", False, 503, "shutting down"),
    ],
)
def test_a_worker_is_ready_while_it_works_and_its_database_answers(
    state: State, away: bool, status: int, detail: str
) -> None:
    metrics, database = ProcessMetrics(), Database()
    database.away = away
    with metrics.jobs.watching(database.count, seconds=0.02), TestClient(worker_app(metrics, lambda: state)) as client:
        until(lambda: database.reads > 2)
        answer = client.get("/health/ready")
        assert client.get("/health/live").status_code == 200
    assert answer.status_code == status
    if status == 503:
        assert answer.headers["content-type"] == PROBLEM
        assert detail in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/pose", 404), ("POST", "/metrics", 405)])
def test_a_worker_answers_problems_where_it_has_nothing(method: str, path: str, status: int) -> None:
    with TestClient(worker_app(ProcessMetrics(), lambda: "working")) as client:
        answer = client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert path in answer.json()["detail"]
