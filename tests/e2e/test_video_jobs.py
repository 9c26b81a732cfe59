"""Video jobs on real servers: they outlive them."""

from __future__ import annotations

from pathlib import Path

from tests import clips, video_jobs
from tests.server_process import FAKE, running


def test_an_uploaded_video_becomes_an_annotated_one(tmp_path: Path) -> None:
    source = clips.discs_clip(tmp_path / "discs.mp4", frames=130)
    with running(*FAKE, data_dir=str(tmp_path / "data")) as server:
        job_id = video_jobs.upload(server.url, source)
        (done,) = video_jobs.wait_for(server.url, [job_id])
        assert done["state"] == "succeeded", done
        assert done["frames_done"] == done["frames_total"] == done["output"]["frames"] == 130
        assert done["output"]["people_seen"] == 1
        video_jobs.check_result(server.url, job_id, source, tmp_path)


def test_jobs_survive_a_server_and_a_worker_that_are_killed_at_random_moments(tmp_path: Path) -> None:
    assert video_jobs.survive_kills(tmp_path, kills=3, seed=20261124) >= 2


def test_a_stopped_server_lets_go_at_once_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    source = clips.discs_clip(tmp_path / "discs.mp4", frames=200)
    slow = (*FAKE, "0.02")
    with running(*slow, data_dir=str(tmp_path / "data")) as server:
        job_id = video_jobs.upload(server.url, source)
        assert server.stop() == 0
        assert not [line for line in server.errors if "Traceback" in line]
    with running(*FAKE, data_dir=str(tmp_path / "data")) as server:
        (done,) = video_jobs.wait_for(server.url, [job_id])
        assert done["state"] == "succeeded", done
        video_jobs.check_result(server.url, job_id, source, tmp_path)
