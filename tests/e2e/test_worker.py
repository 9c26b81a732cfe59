"""A worker as a process."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from service.jobs.storage import Storage
from tests import clips, video_jobs
from tests.ports import free_port
from tests.postgres import find_postgres, postgres
from tests.server_process import FAKE, FAKE_WORKER, Server, run_yaop, running

OLD, FRESH = "a" * 32, "b" * 32


def test_a_worker_clears_away_what_killed_ones_have_left(tmp_path: Path) -> None:
    url, data = f"dir::file://{tmp_path}/far", tmp_path / "data"
    storage = Storage(url, data)
    for job_id in (OLD, FRESH):
        (storage.scratch(job_id) / "half.nut").write_bytes(b"1")
    for path in [storage.scratch(OLD), storage.scratch(OLD) / "half.nut"]:
        os.utime(path, (0, time.time() - 7200))
    with running(*FAKE_WORKER, data_dir=str(data), artifacts_url=url) as worker:
        assert storage.jobs() == [FRESH]
        assert worker.stop() == 0


@pytest.mark.slow
def test_a_worker_tells_probes_and_prometheus_how_it_is(tmp_path: Path) -> None:
    """On Postgres, which goes away."""
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    source = clips.discs_clip(tmp_path / "discs.mp4", frames=20)
    env = {"data_dir": str(tmp_path / "data"), "worker_port": str(free_port())}
    with ExitStack() as ending, ExitStack() as database:
        env["database_url"] = database.enter_context(postgres())
        server = ending.enter_context(running(*FAKE, job_concurrency="0", **env))
        worker = ending.enter_context(running(*FAKE_WORKER, **env))
        (done,) = video_jobs.wait_for(server.url, [video_jobs.upload(server.url, source)])
        assert done["state"] == "succeeded"
        assert get(worker, "/health/live").status_code == 200
        until(lambda: get(worker, "/health/ready").status_code == 200)
        metrics = get(worker, "/metrics").text
        assert 'yaop_jobs_finished_total{state="succeeded"} 1.0' in metrics
        assert "yaop_job_frames_total 20.0" in metrics
        assert "yaop_batch_size_sum 20.0" in metrics
        until(lambda: "yaop_jobs_queued 0.0" in get(server, "/metrics").text)

        database.close()
        until(lambda: get(worker, "/health/ready").status_code == 503)
        for each in (worker, server):
            text = when_away(each)
            assert not re.search("^yaop_jobs_(queued|running) ", text, re.MULTILINE)
            assert get(each, "/health/live").status_code == 200
        assert get(server, "/health/ready").status_code == 200  # pictures need no database
        answer = get(server, "/videos")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["type"] == "urn:yaop:problem:video-jobs-unavailable"


def test_a_port_of_a_worker_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_yaop("worker", "--port", str(port), "--data-dir", tmp_path)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1 and f"YAOP_WORKER_PORT={port}" in lines[0] and "in use" in lines[0]


def test_a_worker_without_a_port_listens_nowhere(tmp_path: Path) -> None:
    with running(*FAKE_WORKER, data_dir=str(tmp_path)) as worker:
        assert worker.url == ""
        kinds = {connection.status for connection in psutil.Process(worker.process.pid).net_connections("tcp")}
        assert psutil.CONN_LISTEN not in kinds
        assert worker.stop() == 0


def when_away(server: Server) -> str:
    """The metrics, once they say that the database is away."""
    until(lambda: "yaop_jobs_database_up 0.0" in get(server, "/metrics").text)
    return get(server, "/metrics").text


def get(server: Server, path: str) -> httpx.Response:
    """The answer, which comes quickly whatever the database does."""
    return httpx.get(server.url + path, timeout=5)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
