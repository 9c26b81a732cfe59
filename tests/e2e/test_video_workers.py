"""Video jobs shared by processes: a service that only takes them in, and workers beside it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import clips, video_jobs
from tests.postgres import find_postgres, postgres
from tests.server_process import FAKE, FAKE_WORKER, running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres() as url:
        yield url


def states(url: str, job_ids: list[str]) -> list[str]:
    return [video_jobs.job(url, job_id)["state"] for job_id in job_ids]


def test_two_workers_share_ten_jobs_and_one_that_is_killed_loses_none(tmp_path: Path, database: str) -> None:
    source = clips.discs_clip(tmp_path / "discs.mp4", frames=70)
    env = {"data_dir": str(tmp_path / "data"), "database_url": database, "worker_timeout": "2"}
    worker = (*FAKE_WORKER, "0.005")
    with (
        running(*FAKE, job_concurrency="0", **env) as server,
        running(*worker, job_concurrency="2", **env) as first,
        running(*worker, job_concurrency="2", **env) as second,
    ):
        ids = [video_jobs.upload(server.url, source) for _ in range(10)]
        end = time.monotonic() + video_jobs.SECONDS
        while states(server.url, ids).count("running") < 3 and time.monotonic() < end:
            time.sleep(0.02)
        first.stop(signal.SIGKILL)
        done = video_jobs.wait_for(server.url, ids)
        assert [each["state"] for each in done] == ["succeeded"] * 10, done
        for job_id in ids:
            video_jobs.check_result(server.url, job_id, source, tmp_path)
        assert second.stop() == 0
        assert not [line for line in [*second.errors, *server.errors] if "Traceback" in line]


def test_a_worker_that_is_stopped_hands_its_job_to_another_at_once(tmp_path: Path) -> None:
    """On SQLite, with a timeout that the test could not wait for."""
    source = clips.discs_clip(tmp_path / "discs.mp4", frames=150)
    env = {"data_dir": str(tmp_path / "data"), "worker_timeout": "3600"}
    with running(*FAKE, job_concurrency="0", **env) as server, running(*FAKE_WORKER, "0.05", **env) as first:
        job_id = video_jobs.upload(server.url, source)
        end = time.monotonic() + video_jobs.SECONDS
        while states(server.url, [job_id]) != ["running"] and time.monotonic() < end:
            time.sleep(0.02)
        assert first.stop() == 0
        assert states(server.url, [job_id]) == ["running"]  # it is nobody's fault, so nobody is told
        with running(*FAKE_WORKER, **env):
            (done,) = video_jobs.wait_for(server.url, [job_id])
        assert done["state"] == "succeeded", done
        video_jobs.check_result(server.url, job_id, source, tmp_path)


def test_a_worker_that_cannot_use_its_database_says_so_in_one_line(tmp_path: Path) -> None:
    from tests.server_process import run_yaop

    done = run_yaop("worker", "--database-url", "postgresql://user:secret@127.0.0.1:1/x", "--data-dir", tmp_path)
    assert done.returncode == 2
    message = done.stderr.decode().strip().splitlines()
    assert len([line for line in message if line.startswith("error: ")]) == 1
    assert "database of the jobs" in message[-1]
    assert "secret" not in done.stderr.decode()
