"""Files of jobs go when they are too old, too many, of no use, or nobody's; never those of a job under way."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.jobs.job import Job
from service.jobs.retention import Retention, RetentionPolicy, enforce_regularly
from service.jobs.storage import Storage
from tests.fake_jobs import FakeJobs, put

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = 86400.0
HOUR = 1 / 24
POLICY = RetentionPolicy(max_seconds=7 * DAY, max_bytes=1000)


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(f"memory://{uuid.uuid4().hex}" if request.param == "remote" else None, tmp_path)


def _job(jobs: FakeJobs, storage: Storage, number: int, state: str, days: float, size: int = 100) -> str:
    """A job that finished so many days ago (that began then, if it isn't finished), with a file."""
    job_id = f"{number:032x}"
    then = NOW - timedelta(days=days)
    finished = None if state in ("queued", "running") else then
    jobs.add(job_id, state=state, created_at=then, finished_at=finished)
    put(storage, job_id, "video.mp4", b"x" * size)
    return job_id


def _retention(jobs: FakeJobs, storage: Storage, policy: RetentionPolicy = POLICY) -> Retention:
    return Retention(jobs, storage, policy, clock=NOW.timestamp)


def test_jobs_go_when_they_were_finished_too_long_ago(storage: Storage) -> None:
    jobs = FakeJobs()
    old = [_job(jobs, storage, 1, "succeeded", 7.1), _job(jobs, storage, 2, "failed", 8)]
    kept = [_job(jobs, storage, 3, "succeeded", 6.9), _job(jobs, storage, 4, "running", 30)]
    kept += [_job(jobs, storage, 5, "queued", 30)]
    assert sorted(_retention(jobs, storage).enforce()) == old
    assert sorted(jobs.jobs) == storage.jobs() == kept


def test_the_longest_finished_go_first_until_the_rest_fits(storage: Storage) -> None:
    jobs = FakeJobs()
    _job(jobs, storage, 1, "running", 5, size=500)
    second, first = _job(jobs, storage, 2, "succeeded", 2, 300), _job(jobs, storage, 3, "succeeded", 3, 300)
    _job(jobs, storage, 4, "succeeded", 1, 300)
    assert _retention(jobs, storage).enforce() == [first, second]
    assert storage.total_bytes() == 800
    assert _retention(jobs, storage).enforce() == []


def test_exactly_the_limit_is_kept(storage: Storage) -> None:
    jobs = FakeJobs()
    _job(jobs, storage, 1, "succeeded", 1, 1000)
    assert _retention(jobs, storage).enforce() == []


def test_what_jobs_under_way_need_stays_even_over_the_limit(storage: Storage) -> None:
    jobs = FakeJobs()
    running = _job(jobs, storage, 1, "running", 1, 5000)
    done = _job(jobs, storage, 2, "succeeded", 1, 10)
    assert _retention(jobs, storage).enforce() == [done]
    assert storage.jobs() == [running]


def test_fresh_results_stay_when_others_need_space(storage: Storage) -> None:
    jobs = FakeJobs()
    queued = _job(jobs, storage, 1, "queued", 0.5 * HOUR, 5000)
    old, fresh = _job(jobs, storage, 2, "succeeded", 2 * HOUR), _job(jobs, storage, 3, "succeeded", 0.5 * HOUR, 1000)
    (storage.scratch("4" * 32) / "upload").write_bytes(b"x" * 5000)
    assert _retention(jobs, storage).enforce() == [old]
    assert storage.jobs() == [queued, fresh, "4" * 32]
    short = RetentionPolicy(max_seconds=7 * DAY, max_bytes=1000, grace_seconds=60)
    assert _retention(jobs, storage, short).enforce() == [fresh]


def test_fresh_results_go_when_they_alone_are_too_many(storage: Storage) -> None:
    jobs = FakeJobs()
    first, second = (_job(jobs, storage, n, "succeeded", (0.5 - n / 10) * HOUR, 700) for n in (1, 2))
    assert _retention(jobs, storage).enforce() == [first]
    assert storage.jobs() == [second]


def test_files_of_jobs_without_result_go_but_their_state_stays(storage: Storage) -> None:
    jobs = FakeJobs()
    failed, cancelled = _job(jobs, storage, 1, "failed", 0.1), _job(jobs, storage, 2, "cancelled", 0.1)
    fresh = _job(jobs, storage, 3, "cancelled", 0)
    assert _retention(jobs, storage).enforce() == []
    assert storage.jobs() == [fresh]
    assert set(jobs.jobs) == {failed, cancelled, fresh}


def test_files_of_no_job_go_once_nothing_writes_them(tmp_path: Path) -> None:
    storage, jobs = Storage(None, tmp_path), FakeJobs()
    upload, orphan, young = uuid.uuid4().hex, uuid.uuid4().hex, uuid.uuid4().hex
    (storage.scratch(upload) / "upload").write_bytes(b"still coming")
    put(storage, orphan, "source", b"its service died before it was a job")
    put(storage, young, "source", b"about to be a job")
    for job_id in (upload, orphan):
        for path in [tmp_path / "videos" / job_id, *(tmp_path / "videos" / job_id).rglob("*")]:
            os.utime(path, (0, NOW.timestamp() - 7200))
    os.utime(storage.scratch(upload) / "upload", (0, NOW.timestamp() - 10))
    os.utime(tmp_path / "videos" / young, (0, NOW.timestamp() - 10))
    _retention(jobs, storage).enforce()
    assert storage.jobs() == sorted([upload, young])


def test_a_job_taken_in_meanwhile_keeps_its_files(storage: Storage) -> None:
    class LateJobs(FakeJobs):
        def list(self, *, limit: int, before: str | None = None) -> list[Job]:
            return []

    jobs = LateJobs()
    job_id = _job(jobs, storage, 1, "queued", 30)
    Retention(jobs, storage, POLICY, clock=lambda: datetime.now(UTC).timestamp() + DAY).enforce()
    assert storage.jobs() == [job_id]


def test_downloads_of_finished_jobs_go_when_nobody_fetches_them(tmp_path: Path) -> None:
    storage, jobs = Storage(f"memory://{uuid.uuid4().hex}", tmp_path), FakeJobs()
    job_id = _job(jobs, storage, 1, "succeeded", 1)
    copy = storage.fetch(job_id, "video.mp4")
    _retention(jobs, storage).enforce()
    assert copy.exists()
    for path in [*copy.parents, copy]:
        if tmp_path in path.parents:
            os.utime(path, (0, 0))
    _retention(jobs, storage).enforce()
    assert not copy.exists()
    assert storage.fetch(job_id, "video.mp4").read_bytes() == b"x" * 100


def test_all_pages_of_jobs_are_looked_at(tmp_path: Path) -> None:
    storage, jobs = Storage(None, tmp_path), FakeJobs()
    for number in range(1, 451):
        jobs.add(f"{number:032x}", state="succeeded", finished_at=NOW - timedelta(days=8))
    assert len(_retention(jobs, storage).enforce()) == 450


def test_stopping_ends_it_between_two_jobs(storage: Storage) -> None:
    jobs = FakeJobs()
    kept = _job(jobs, storage, 1, "succeeded", 8)
    retention = _retention(jobs, storage)
    retention.stopping.set()
    assert retention.enforce() == []
    assert storage.jobs() == [kept]


def test_it_is_done_again_and_again_whatever_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(FakeJobs):
        calls = 0

        def list(self, *, limit: int, before: str | None = None) -> list[Job]:
            self.calls += 1
            if self.calls == 1:
                raise OSError("the database is away")
            enough.set()
            return []

    enough = threading.Event()
    jobs, storage = Failing(), Storage(None, tmp_path)

    async def get() -> Failing:
        return jobs

    async def run() -> None:
        task = asyncio.create_task(enforce_regularly(get, storage, POLICY, seconds=0.01))
        assert await asyncio.to_thread(enough.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert "retention failed" in caplog.text


def test_cancelling_waits_for_what_is_being_deleted(tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(FakeJobs):
        ended = False

        def list(self, *, limit: int, before: str | None = None) -> list[Job]:
            entered.set()
            assert go_on.wait(30)
            self.ended = True
            return []

    jobs = Slow()

    async def get() -> Slow:
        return jobs

    async def run() -> None:
        task = asyncio.create_task(enforce_regularly(get, Storage(None, tmp_path), POLICY))
        assert await asyncio.to_thread(entered.wait, 30)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert jobs.ended

    asyncio.run(run())
