"""All of the service's HTTP API, as a class."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from service.client.backoff import Backoff, Notify, Patience
from service.client.connection import Away, Connection, parse
from service.client.errors import ClientError
from service.client.events import read_events
from service.client.transfers import BytesDone, Download, MeasuredFile
from service.jobs.job import Job
from service.jobs.options import VideoOptions
from service.wire import ModelList, ModelSummary, PosesFormat
from shared.errors import YaopError
from shared.files import atomic_write
from shared.schema import Frame

_UPLOAD_TRIES = 6
_PAGE = 50
_EVENTS_TIMEOUT = httpx.Timeout(60, connect=10)  # the service sends a comment every few seconds when nothing happens


class JobList(BaseModel):
    """A page of jobs, newest first."""

    videos: list[Job]
    next: str | None = None


class Client(AbstractContextManager["Client"]):
    """Calls a service. Uploads, waits and downloads go on through its restarts; all other calls are made once.

    Every failure is a `ClientError` (or, for files on this side, another `shared.errors.YaopError`).

    Args:
        url: of the service, e.g. ``http://127.0.0.1:8000``.
        key: sent as ``Authorization: Bearer``.
        patience: seconds to wait for a service that was there and is not.
        notify: told in a sentence of each wait.
        transport: in place of the network.
        sleep: in place of `time.sleep`.

    Raises:
        YaopError: `url` is no address.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience: float = 300.0,
        notify: Notify | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = Connection(url, key, transport)
        self._patience = Patience(patience, notify, sleep)

    @property
    def url(self) -> str:
        """The address of the service, without a slash at its end."""
        return self._connection.url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._connection.close()

    def models(self) -> list[ModelSummary]:
        """The loaded models, the default first."""
        return parse(ModelList, self._connection.call("GET", "/models")).models

    def estimate(
        self,
        image: bytes | str | Path,
        *,
        resolution: str | int | None = None,
        min_score: float | None = None,
        max_people: int | None = None,
        flip: bool | None = None,
        roi: tuple[int, int, int, int] | None = None,
        model: str | None = None,
    ) -> Frame:
        """The people in a picture; what is None is left to the service.

        Args:
            image: what is in a JPEG, PNG, WebP or BMP file, or the path of one.
            resolution: long side of the network's input: a name or pixels.
            min_score: people with a lower score are left out.
            max_people: most people given.
            flip: look at the mirror image, too.
            roi: look only at this part: x, y, width, height in pixels of the upright picture.
            model: name of a loaded model.
        """
        given = {
            "resolution": resolution,
            "min_score": min_score,
            "max_people": max_people,
            "flip": flip,
            "roi": None if roi is None else ",".join(map(str, roi)),
            "model": model,
        }
        params = {name: value for name, value in given.items() if value is not None}
        data = image if isinstance(image, bytes) else _read(Path(image))
        headers = {"Content-Type": "application/octet-stream"}
        return parse(Frame, self._connection.call("POST", "/pose", params=params, content=data, headers=headers))

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
            with _opened(source) as file:
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
        following = _Following(self._connection, job_id, progress or _nothing, backoff)
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


class _Following:
    """A job that is followed by its events, over as many connections as it takes."""

    def __init__(self, connection: Connection, job_id: str, progress: Callable[[Job], None], backoff: Backoff) -> None:
        self._connection = connection
        self._path = _path(job_id)
        self._progress = progress
        self._backoff = backoff
        self._last_id: str | None = None
        self._tries = 0

    def to_the_end(self) -> Job | None:
        """The finished job; None if the events ended before it was."""
        self._tries += 1
        if self._tries > 1 and (job := self._look()).finished:  # also where a proxy holds events back
            return job
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        arguments = {"headers": headers, "timeout": _EVENTS_TIMEOUT}
        with self._connection.stream("GET", f"{self._path}/events", **arguments) as response:
            for event in read_events(response.iter_bytes()):
                self._last_id = event.id or self._last_id
                job = self._take(event.data)
                if job is not None and job.finished:
                    return job
        return None

    def _look(self) -> Job:
        job = parse(Job, self._connection.attempt("GET", self._path))
        self._backoff.reset()
        self._progress(job)
        return job

    def _take(self, data: str) -> Job | None:
        try:
            job = Job.model_validate_json(data)
        except ValidationError:
            return None
        self._backoff.reset()
        self._progress(job)
        return job


def _nothing(job: Job) -> None:
    """Nobody wants to know."""


def _path(job_id: str) -> str:
    return f"/videos/{quote(job_id, safe='')}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _read(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise YaopError(f"{path}: {error.strerror or error}") from error
    with contextlib.closing(file):
        yield file


@contextmanager
def _written(target: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(target, str | Path):
        with atomic_write(Path(target)) as stream:
            yield stream
        return
    with tempfile.TemporaryFile() as stream:
        yield stream
        stream.seek(0)
        shutil.copyfileobj(stream, target)
