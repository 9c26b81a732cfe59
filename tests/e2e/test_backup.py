"""The backup of docs/operations.md, by its own lines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests import clips, video_jobs
from tests.server_process import FAKE, ROOT, running


def test_videos_go_on_from_a_backup_that_was_made_while_one_was_worked_on(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"<!-- backup -->\n```sh\n(.+?)```", guide, re.DOTALL)
    data, backup = tmp_path / "data", tmp_path / "backup"
    sources = [clips.discs_clip(tmp_path / f"discs-{frames}.mp4", frames=frames) for frames in (90, 8)]
    with running(*FAKE, "0.02", data_dir=str(data), job_concurrency="1") as server:
        ids = [video_jobs.upload(server.url, source) for source in sources]
        end = time.monotonic() + video_jobs.SECONDS
        while video_jobs.job(server.url, ids[0])["frames_done"] < 62 and time.monotonic() < end:
            time.sleep(0.02)
        env = os.environ | {"YAOP_DATA_DIR": str(data), "BACKUP": str(backup)}
        subprocess.run(["sh", "-ec", script], env=env, check=True, timeout=60)
        assert [video_jobs.job(server.url, job_id)["state"] for job_id in ids] == ["running", "queued"]
        server.stop(signal.SIGKILL)
    with running(*FAKE, data_dir=str(backup), job_concurrency="1") as restored:
        done = video_jobs.wait_for(restored.url, ids)
        assert [job["state"] for job in done] == ["succeeded"] * 2, done
        for job_id, source in zip(ids, sources, strict=True):
            video_jobs.check_result(restored.url, job_id, source, tmp_path)
