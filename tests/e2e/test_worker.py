"""A worker as a process."""

from __future__ import annotations

import os
import time
from pathlib import Path

from service.jobs.storage import Storage
from tests.server_process import FAKE_WORKER, running

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
