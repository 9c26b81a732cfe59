"""``/videos``: jobs that go on without the client."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote

from pydantic import BaseModel

from service.client.backoff import Backoff
from service.client.calls import Calls
from service.client.connection import Away, parse
from service.client.errors import ClientError
from service.client.following import Following
from service.client.transfers import BytesDone, Download, MeasuredFile, opened
from service.jobs.job import Job
from service.jobs.options import VideoOptions
from service.wire import PosesFormat
from shared.files import atomic_write

_UPLOAD_TRIES = 6
_PAGE = 50


class JobList(BaseModel):
    """A page of jobs, newest first."""

    videos: list[Job]
    next: str | None = None


class VideoCalls(Calls):
    """Videos in, annotated videos and the people of their frames out."""

    def upload_video(
        self,
        path: str | Path,
        options: VideoOptions | None = None,
        idempotency_key: str | None = None,
        progress: BytesDone | None = None,
    ) -> Job:
        """Send a video; the job that works on it, which goes on without this client.

        Args:
            path: of the video.
            options: how it is looked at and drawn; those that are the default's are left to the service.
            idempotency_key: the same again gives the same job; by default one of this call's own, so that trying again
                after a broken connection makes no second job.
            progress: told as the bytes go out.
        """
        source = Path(path)
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        params = options.model_dump(mode="json", exclude_defaults=True) if options else {}
        backoff = Backoff(self._patience, most=_UPLOAD_TRIES)
        while True:
            with opened(source) as file:
                part = (_printable(source.name), MeasuredFile(file, progress), "application/octet-stream")
                try:
                    answer = self._connection.attempt(
                        "POST", "/videos", params=params, headers=headers, files={"video": part}
                    )
                except Away as away:
                    backoff.wait_for(away)
                else:
                    return parse(Job, answer)

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return parse(Job, self._connection.call("GET", _path(job_id)))

    def jobs(self, limit: int | None = None) -> Iterator[Job]:
        """The jobs, newest first; page by page, as they are asked for.

        Args:
            limit: the most to give; None for all.
        """
        params: dict[str, str | int] = {"limit": _PAGE if limit is None else min(limit, _PAGE)}
        given = 0
        while given != limit:
            page = parse(JobList, self._connection.call("GET", "/videos", params=params))
            for job in page.videos:
                if given == limit:
                    return
                given += 1
                yield job
            if not page.videos or page.next is None:
                return
            params["before"] = page.videos[-1].id

    def wait(self, job_id: str, progress: Callable[[Job], None] | None = None) -> Job:
        """Follow a job until nothing about it changes any more, through restarts of the service.

        Args:
            job_id: of the job.
            progress: told of the job as it goes on.

        Returns:
            The job: succeeded, failed or cancelled.
        """
        backoff = Backoff(self._patience)
        following = Following(self._connection, _path(job_id), progress or _nothing, backoff)
        while True:
            try:
                job = following.to_the_end()
            except Away as away:
                backoff.wait_for(away)
            else:
                if job is not None:
                    return job
                backoff.wait(ClientError("No answer", f"{self.url} ended the events of the job {job_id}"))

    def download_video(self, job_id: str, path: str | Path, progress: BytesDone | None = None) -> None:
        """Fetch the annotated video of a job that succeeded.

        Args:
            job_id: of the job.
            path: where it goes; the file appears complete or not at all.
            progress: told as it arrives.
        """
        with atomic_write(Path(path)) as stream:
            Download(self._connection, f"{_path(job_id)}/video", stream, progress=progress).run(self._backoff())

    def download_poses(
        self,
        job_id: str,
        target: str | Path | BinaryIO,
        format: PosesFormat = "native",  # noqa: A002
    ) -> None:
        """Fetch the people of all frames of a job that succeeded.

        Args:
            job_id: of the job.
            target: a path, where the file appears complete or not at all, or a stream, which gets it when it is
                complete.
            format: ``native`` (JSON Lines), ``csv``, ``openpose`` (a zip file) or ``coco``.
        """
        with _written(target) as stream:
            Download(self._connection, f"{_path(job_id)}/poses", stream, {"format": format}).run(self._backoff())

    def poster(self, job_id: str) -> bytes:
        """A small picture (JPEG) of a video whose job succeeded: one of its annotated frames."""
        return self._connection.call("GET", f"{_path(job_id)}/poster").content

    def cancel(self, job_id: str) -> Job:
        """Stop a job that is queued or running; one that is finished stays as it is.

        Returns:
            The job. If it finished in the very moment between two calls, it is deleted, and `cancelled` here.
        """
        job = self.job(job_id)
        if job.finished:
            return job
        answer = self._connection.call("DELETE", _path(job_id))
        if answer.status_code == HTTPStatus.NO_CONTENT:
            return job.model_copy(update={"state": "cancelled"})
        return parse(Job, answer)

    def delete(self, job_id: str) -> None:
        """Remove a job and its files; one that is not finished is cancelled first."""
        while self._connection.call("DELETE", _path(job_id)).status_code != HTTPStatus.NO_CONTENT:
            self.wait(job_id)

    def _backoff(self) -> Backoff:
        return Backoff(self._patience)


def _nothing(job: Job) -> None:
    """Nobody wants to know."""


def _path(job_id: str) -> str:
    return f"/videos/{quote(job_id, safe='')}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


@contextmanager
def _written(target: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(target, str | Path):
        with atomic_write(Path(target)) as stream:
            yield stream
        return
    with tempfile.TemporaryFile() as temporary:
        stream = cast("BinaryIO", temporary)  # on Windows a wrapper of one
        yield stream
        stream.seek(0)
        shutil.copyfileobj(stream, target)
