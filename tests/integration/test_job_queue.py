"""The queue of video jobs in this process: what becomes of jobs, and what does not."""

from __future__ import annotations

import errno
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.batching import Batcher
from service.jobs.database import open_database
from service.jobs.job import SOURCE, Job, JobSpec
from service.jobs.options import VideoOptions
from service.jobs.queue import JobQueue, new_job_id
from service.jobs.records import JobRecords
from service.jobs.runner import JobRunner
from service.jobs.storage import Storage
from service.media.limits import VideoLimits
from service.media.probe import probe_video
from service.models import ModelRepository
from tests import clips
from tests.fake_engine import DiscEngine, fake_model


class BadStorage(Storage):
    """Fails to keep files while `failures` has one for the beginning of their name."""

    failures: dict[str, list[int]]

    def put(self, job_id: str, name: str, file: Path) -> None:
        for start, numbers in self.failures.items():
            if name.startswith(start) and numbers:
                raise OSError(numbers.pop(), "no luck today")
        super().put(job_id, name, file)


class Works:
    """A queue with all that it needs."""

    def __init__(self, folder: Path, concurrency: int = 1) -> None:
        self.engine = DiscEngine()
        self.batcher = Batcher(64)
        self.storage = BadStorage(None, folder)
        self.storage.failures = {}
        self._folder = folder
        models = ModelRepository([fake_model(self.engine)])
        database = open_database(None, folder)
        runner = JobRunner(lambda: nullcontext(models), self.batcher, self.storage, JobRecords(database), VideoLimits())
        self.queue = JobQueue(database, runner, concurrency=concurrency, worker_timeout=60)

    def submit(self, clip: Path, key: str | None = None, **options: Any) -> Job:
        job_id = new_job_id()
        info = probe_video(clip)
        copy = shutil.copy(clip, self.storage.scratch(job_id) / "upload")
        self.storage.put(job_id, SOURCE, Path(copy))
        spec = JobSpec(
            id=job_id,
            bytes=clip.stat().st_size,
            options=VideoOptions(resolution=256, **options),
            source=info,
            frames_total=info.frames,
            idempotency_key=key,
        )
        return self.queue.submit(spec)

    def get(self, job: Job) -> Job:
        found = self.queue.get(job.id)
        assert found is not None
        return found

    def finished(self, job: Job) -> Job:
        wait(lambda: self.get(job).finished)
        return self.get(job)

    def close(self) -> None:
        self.engine.gate.set()
        self.queue.close(30)
        self.batcher.close()


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    opened = Works(tmp_path / "data") if (tmp_path / "data").mkdir() is None else None
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return clips.discs_clip(tmp_path / "clip.mp4", frames=20)


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    return clips.discs_clip(tmp_path / "long.mp4", frames=150)


def test_a_job_succeeds_and_only_its_result_stays(works: Works, clip: Path) -> None:
    submitted = works.submit(clip)
    assert submitted.state in ("queued", "running")
    done = works.finished(submitted)
    assert done.state == "succeeded"
    assert done.frames_done == done.frames_total == 20
    assert done.output is not None and done.output.frames == 20 and done.output.people_seen == 1
    assert done.started_at and done.finished_at and done.created_at <= done.finished_at
    wait(lambda: works.storage.names(done.id) == ["poses.jsonl", "poster.jpg", "video.mp4"])


def test_jobs_are_listed_newest_first_in_pages(works: Works, clip: Path) -> None:
    ids = [works.submit(clip).id for _ in range(3)]
    first = works.queue.list(limit=2)
    assert [job.id for job in first] == [ids[2], ids[1]]
    assert [job.id for job in works.queue.list(limit=2, before=first[-1].id)] == [ids[0]]


def test_the_same_key_is_the_same_job(works: Works, clip: Path) -> None:
    one, two = works.submit(clip, key="mine"), works.submit(clip, key="mine")
    assert one.id == two.id
    found = works.queue.find("mine")
    assert found is not None and found.id == one.id
    assert works.queue.find("another") is None


def test_a_running_job_is_cancelled_within_a_chunk_and_its_files_go(works: Works, long_clip: Path) -> None:
    works.engine.gate.clear()
    job = works.submit(long_clip)
    assert works.engine.entered.wait(60)
    cancelled = works.queue.cancel(job.id)
    assert cancelled is not None and cancelled.state == "cancelled"
    works.engine.gate.set()
    wait(lambda: works.storage.names(job.id) == [])
    assert len(works.engine.calls) < 100  # of 150
    assert works.get(job).state == "cancelled"


def test_a_waiting_job_is_cancelled_before_it_begins(works: Works, clip: Path) -> None:
    works.engine.gate.clear()
    first, second = works.submit(clip), works.submit(clip)
    assert works.engine.entered.wait(60)
    cancelled = works.queue.cancel(second.id)
    assert cancelled is not None and cancelled.state == "cancelled"
    assert works.storage.names(second.id) == []
    works.engine.gate.set()
    assert works.finished(first).state == "succeeded"


def test_only_finished_jobs_can_be_deleted(works: Works, clip: Path) -> None:
    works.engine.gate.clear()
    job = works.submit(clip)
    assert not works.queue.delete(job.id)
    works.engine.gate.set()
    works.finished(job)
    assert works.queue.delete(job.id)
    assert works.queue.get(job.id) is None
    assert works.queue.list(limit=10) == []


def test_jobs_are_counted_while_they_are_unfinished(works: Works, clip: Path) -> None:
    works.engine.gate.clear()
    jobs = [works.submit(clip) for _ in range(3)]
    assert works.engine.entered.wait(60)
    wait(lambda: works.queue.counts() == {"queued": 2, "running": 1})
    works.engine.gate.set()
    for job in jobs:
        works.finished(job)
    assert works.queue.counts() == {"queued": 0, "running": 0}


def test_an_engine_that_fails_fails_the_job_and_no_other(works: Works, clip: Path) -> None:
    works.engine.failure = ValueError("broken")
    failed = works.finished(works.submit(clip))
    assert failed.state == "failed"
    assert failed.error is not None and failed.error.type == "urn:yaop:problem:engine-failed"
    assert works.storage.names(failed.id) == []
    works.engine.failure = None
    assert works.finished(works.submit(clip)).state == "succeeded"


@pytest.mark.parametrize("name", ["segments/", "poses", "video"])
def test_a_full_disk_fails_the_job_leaves_nothing_and_spares_others(works: Works, clip: Path, name: str) -> None:
    works.engine.gate.clear()
    job, other = works.submit(clip), works.submit(clip)
    works.storage.failures[name] = [errno.ENOSPC]
    works.engine.gate.set()
    failed = works.finished(job)
    assert failed.error is not None and failed.error.type == "urn:yaop:problem:disk-full"
    assert works.storage.names(job.id) == []
    assert works.finished(other).state == "succeeded"


@pytest.mark.parametrize("name", ["segments/", "video"])
def test_storage_that_is_away_for_a_while_costs_nothing(
    works: Works, clip: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.workflow.SECONDS_BEFORE_TRIES", (0.0, 0.01, 0.01))
    works.storage.failures[name] = [errno.EIO, errno.EIO]
    done = works.finished(works.submit(clip))
    assert done.state == "succeeded", done.error
    assert done.output is not None and done.output.frames == 20


def test_storage_that_stays_away_fails_the_job_without_telling_paths(
    works: Works, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.workflow.SECONDS_BEFORE_TRIES", (0.0, 0.01))
    works.storage.failures["segments/"] = [errno.EIO] * 4
    failed = works.finished(works.submit(clip))
    assert failed.error is not None and failed.error.type == "urn:yaop:problem:internal-error"
    assert "/" not in failed.error.detail
    works.storage.failures.clear()
    assert works.finished(works.submit(clip)).state == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_decoder_that_is_killed_costs_nothing(
    works: Works, long_clip: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.workflow.SECONDS_BEFORE_TRIES", (0.0, 0.01, 0.01))
    works.engine.gate.clear()
    job = works.submit(long_clip)
    assert works.engine.entered.wait(60)
    for child in psutil.Process().children():
        if any("reader" in part for part in child.cmdline()):
            child.send_signal(number)
    works.engine.gate.set()
    done = works.finished(job)
    assert done.state == "succeeded", done.error
    assert done.output is not None and done.output.frames == 150


def test_a_job_deleted_right_after_it_was_cancelled_leaves_nothing(works: Works, long_clip: Path, clip: Path) -> None:
    works.engine.gate.clear()
    job = works.submit(long_clip)
    assert works.engine.entered.wait(60)
    works.queue.cancel(job.id)
    assert works.queue.delete(job.id)
    works.storage.remove(job.id)
    works.engine.gate.set()
    works.finished(works.submit(clip))  # the chunk that was under way is over then
    wait(lambda: job.id not in works.storage.jobs())


def test_a_key_whose_process_died_before_the_job_was_queued_can_be_used_again(works: Works, clip: Path) -> None:
    records = JobRecords(open_database(None, works.storage.data_dir))
    records.add("0" * 32, "mine")
    assert works.submit(clip, key="mine").id != "0" * 32


def test_such_a_row_hides_no_other_job(works: Works, clip: Path) -> None:
    records = JobRecords(open_database(None, works.storage.data_dir))
    old = works.submit(clip)
    for digit in "123":
        records.add(digit * 32, None)
    new = works.submit(clip)
    assert [job.id for job in works.queue.list(limit=2)] == [new.id, old.id]


def test_a_queue_that_could_not_be_opened_can_be_opened_later(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("not now")

    folder = tmp_path / "data"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("service.jobs.queue.DBOS.register_queue", fail)
        with pytest.raises(ConnectionError):
            Works(folder)
    works = Works(folder)
    try:
        assert works.finished(works.submit(clip)).state == "succeeded"
    finally:
        works.close()


def test_a_damaged_frame_is_told_and_the_job_goes_on(works: Works, tmp_path: Path) -> None:
    damaged = clips.damage_packet(clips.discs_clip(tmp_path / "damaged.mp4", frames=40, gop=1), 20)
    done = works.finished(works.submit(damaged))
    assert done.state == "succeeded"
    assert done.warnings
    assert done.output is not None and 38 <= done.output.frames <= 40


def test_a_file_that_stops_being_readable_fails_with_the_reason(works: Works, clip: Path) -> None:
    works.engine.gate.clear()
    first, job = works.submit(clip), works.submit(clip)
    works.storage.fetch(job.id, SOURCE).write_bytes(b"no video at all")
    works.engine.gate.set()
    works.finished(first)
    failed = works.finished(job)
    assert failed.error is not None and failed.error.type.startswith("urn:yaop:problem:video-")


def test_a_model_that_is_not_loaded_fails_the_job(works: Works, clip: Path) -> None:
    failed = works.finished(works.submit(clip, model="another"))
    assert failed.error is not None and "another" in failed.error.detail


def test_a_queue_that_is_opened_again_has_its_jobs_and_goes_on(works: Works, tmp_path: Path, clip: Path) -> None:
    works.engine.gate.clear()
    done, waiting = works.submit(clip), works.submit(clip)
    works.engine.gate.set()
    works.finished(done)
    works.queue.close(30)
    again = Works(tmp_path / "data")
    try:
        assert again.get(done).state == "succeeded"
        assert again.finished(waiting).state == "succeeded"
        again.queue.delete(done.id)
    finally:
        works.queue = again.queue
        again.batcher.close()


def test_frames_of_a_variable_rate_get_a_constant_one_where_the_container_has_no_time_stamps(
    works: Works, tmp_path: Path
) -> None:
    uneven = clips.make_clip(tmp_path / "uneven.mp4", frames=20, timestamps=clips.shifting_timestamps(20))
    done = works.finished(works.submit(uneven, codec="XVID"))
    assert done.state == "succeeded", done.error
    assert done.output is not None and done.output.suffix == ".avi"
