"""``yaop video --url``: upload, follow, download."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from service.client.address import shown_address
from service.client.client import Client
from service.client.errors import ClientError
from service.jobs.job import Job
from shared.errors import YaopError

if TYPE_CHECKING:
    from service.progress import Display
    from service.video_run import VideoRun


def annotate_there(run: VideoRun, client: Client, display: Display) -> Job:
    """Let a service annotate a video, and fetch what was asked for.

    When this is interrupted the job is cancelled; when it fails in another way (the network is gone) the job goes on.

    Args:
        run: what to do.
        client: of the service.
        display: shows how far it is.

    Raises:
        YaopError: it could not be done.
    """
    job = client.upload_video(
        run.source, run.options, progress=lambda done, total: display.advance("Uploading", done, total, "bytes")
    )
    display.note(f"job {job.id} at {shown_address(client.url)}/videos/{job.id}")
    try:
        job = client.wait(job.id, lambda now: _show(now, display))
        _require_success(run.source, job)
        for warning in job.warnings:
            display.note(f"warning: {run.source}: {warning}")
        _download(run, job, client, display)
    except KeyboardInterrupt:
        with suppress(YaopError):
            client.cancel(job.id)
        raise
    return job


def _show(job: Job, display: Display) -> None:
    display.advance("Annotating", job.frames_done, job.frames_total, "frames")


def _require_success(source: Path, job: Job) -> None:
    if job.state == "cancelled":
        raise YaopError(f"{source}: the job {job.id} was cancelled")
    if job.state == "failed":
        error = job.error
        raise ClientError.of_problem(error) if error else YaopError(f"{source}: the job {job.id} failed")


def _download(run: VideoRun, job: Job, client: Client, display: Display) -> None:
    if run.out is not None:
        client.download_video(job.id, run.out, lambda done, total: display.advance("Downloading", done, total, "bytes"))
    if run.data is not None:
        client.download_poses(job.id, sys.stdout.buffer if run.data == "-" else Path(run.data), run.layout)
        sys.stdout.flush()
