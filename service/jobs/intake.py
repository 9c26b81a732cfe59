"""Takes a video in: from the body of a request to a job that is durable, or to a problem and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request

from service.jobs.job import SOURCE, Job, JobSpec
from service.jobs.options import VideoOptions
from service.jobs.room import Room
from service.jobs.storage import Storage
from service.media.codecs import CodecError, find_codec, require_encoder
from service.media.limits import VideoLimits
from service.media.probe import VideoInfo, probe_video
from service.media.upload import Upload, declared_length, disk_full, is_disk_full, receive_video
from service.media.video_errors import VideoError
from service.media.video_problems import video_problem
from service.models import ModelRepository
from service.problems import Problem, invalid_parameter
from service.video.rate import frames_of_result

if TYPE_CHECKING:
    from service.jobs.queue import JobQueue

logger = logging.getLogger(__name__)

DIGEST = "source.sha256"

_LONGEST_FILENAME = 200
# A file that is slow to look at holds up others like it, and nothing else.
_probes = ThreadPoolExecutor(2, "yaop-probe")
_key_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class Accepted(NamedTuple):
    """The answer to an upload.

    Attributes:
        job: that works on it.
        new: False if an earlier upload with the same key made it.
    """

    job: Job
    new: bool


class Intake:
    """Takes videos in.

    Args:
        jobs: where they are queued.
        storage: where they are kept.
        room: for how many of them there is room.
        limits: what they may be.
        max_bytes: of one; more than there is room for at all are never taken.
    """

    def __init__(self, jobs: JobQueue, storage: Storage, room: Room, limits: VideoLimits, *, max_bytes: int) -> None:
        self._jobs = jobs
        self._storage = storage
        self._room = room
        self._limits = limits
        self._max_bytes = min(max_bytes, room.max_bytes)

    async def accept(
        self, request: Request, asked: VideoOptions, models: Callable[[], ModelRepository], key: str | None = None
    ) -> Accepted:
        """Receive, check and queue the video in the body of a request.

        Args:
            request: its body must not have been read.
            asked: the options in its query; those in fields of its form are added.
            models: gives those that are loaded.
            key: the same again gives the same job.

        Raises:
            Problem: whatever is wrong with the video, the options or the state of the service.
            RequestValidationError: a field of the form is wrong.
            ClientDisconnect: the client hung up in the middle.
        """
        await _check_choices(asked, models())
        length = declared_length(request)
        size = length if length <= self._max_bytes else 0  # too long whatever room there is: refused where it is read
        await asyncio.to_thread(self._require_room, size, key)
        async with self._receiving(request) as upload:
            options = _with_fields(asked, upload.fields)
            await _check_choices(options, models())
            source = await self._probe(upload)
            frames = self._count_frames(source, options)
            spec = JobSpec(
                id=_new_job_id(),
                filename=_plain_name(upload.filename),
                bytes=upload.size,
                options=options,
                source=source,
                frames_total=frames,
                idempotency_key=key,
            )
            async with _key_locks.setdefault(key or spec.id, asyncio.Lock()):
                return await asyncio.to_thread(self._queue, spec, upload)

    def _require_room(self, size: int, key: str | None) -> None:
        """Refuse before the body is read, unless it may be one that was taken in earlier."""
        try:
            self._room.require(size)
        except Problem:
            if not key or self._jobs.find(key) is None:
                raise

    @asynccontextmanager
    async def _receiving(self, request: Request) -> AsyncIterator[Upload]:
        """The video in a temporary file, which is gone afterwards, whatever happens."""
        upload_id = uuid.uuid4().hex
        try:
            folder = await asyncio.to_thread(self._storage.scratch, upload_id)
            free = await asyncio.to_thread(self._storage.free_bytes)
            yield await receive_video(request, folder / "upload", self._max_bytes, free_bytes=free)
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise disk_full() from error
        finally:
            await asyncio.shield(asyncio.to_thread(self._drop_upload, upload_id))

    def _drop_upload(self, upload_id: str) -> None:
        """Only what is on this machine; whatever goes wrong, the answer to the client stands."""
        try:
            self._storage.drop_scratch(upload_id)
        except Exception:
            logger.warning("an upload could not be removed", exc_info=True, extra={"upload": upload_id})

    async def _probe(self, upload: Upload) -> VideoInfo:
        try:
            return await asyncio.get_running_loop().run_in_executor(_probes, probe_video, upload.path, self._limits)
        except VideoError as error:
            raise video_problem(error) from None

    def _count_frames(self, source: VideoInfo, options: VideoOptions) -> int:
        """Frames of the result."""
        frames = frames_of_result(options, source)
        if frames > self._limits.max_frames:
            raise invalid_parameter("fps", f"makes {frames} frames of this video; at most {self._limits.max_frames}")
        return frames

    def _queue(self, spec: JobSpec, upload: Upload) -> Accepted:
        earlier = self._jobs.find(spec.idempotency_key) if spec.idempotency_key else None
        if earlier is None:
            self._store(spec.id, upload)
            job = self._submit(spec)
            if job.id == spec.id:
                return Accepted(job, new=True)
            self._discard(spec.id)  # another process was quicker with the same key
            earlier = job
        self._check_same(earlier, spec, upload)
        return Accepted(earlier, new=False)

    def _store(self, job_id: str, upload: Upload) -> None:
        try:
            digest = self._storage.scratch(job_id) / "digest"
            digest.write_text(upload.digest)
            self._storage.put(job_id, DIGEST, digest)
            self._storage.put(job_id, SOURCE, upload.path)
            self._storage.drop_scratch(job_id)
        except BaseException:
            self._discard(job_id)
            raise

    def _submit(self, spec: JobSpec) -> Job:
        try:
            with self._room.taken(spec.bytes):
                return self._jobs.submit(spec)
        except Exception:
            # If even asking fails, the job may be there, so its source has to stay; retention knows if nobody needs it.
            if self._jobs.get(spec.id) is None:
                self._discard(spec.id)
            raise

    def _discard(self, job_id: str) -> None:
        """What cannot be removed now is left to retention."""
        try:
            self._storage.remove(job_id)
        except Exception:
            logger.warning("files of no job could not be removed", exc_info=True, extra={"job": job_id})

    def _check_same(self, job: Job, spec: JobSpec, upload: Upload) -> None:
        same = job.options == spec.options and job.bytes == spec.bytes
        if not same or self._digest(job.id) not in (None, upload.digest):
            detail = f"The Idempotency-Key was used before, for another video or other options (job {job.id})."
            raise Problem(422, "idempotency-key-reused", detail, job=job.id)

    def _digest(self, job_id: str) -> str | None:
        """Of the job's source; None if that is no longer known."""
        try:
            return self._storage.fetch(job_id, DIGEST).read_text()
        except FileNotFoundError:
            return None


async def _check_choices(options: VideoOptions, models: ModelRepository) -> None:
    if models.get(options.model) is None:
        raise invalid_parameter("model", f"must be one of {', '.join(models.names)}")
    try:
        await asyncio.to_thread(require_encoder, find_codec(options.codec))  # the first time, it imports PyAV
    except CodecError as error:
        raise invalid_parameter("codec", str(error)) from None


def _with_fields(asked: VideoOptions, fields: Mapping[str, str]) -> VideoOptions:
    """The options of the query and of the form.

    Raises:
        RequestValidationError: a field is wrong, or in the query too.
    """
    given = {name: getattr(asked, name) for name in asked.model_fields_set}
    twice = sorted(given.keys() & fields.keys())
    if twice:
        message = "is both a parameter of the query and a field of the form; give it once"
        raise RequestValidationError(
            [{"type": "given_twice", "loc": ("form", name), "msg": message, "input": fields[name]} for name in twice]
        )
    try:
        return VideoOptions.model_validate({**given, **fields})
    except ValidationError as error:
        raise RequestValidationError([{**item, "loc": ("form", *item["loc"])} for item in error.errors()]) from None


def _plain_name(filename: str | None) -> str | None:
    """The last part of a path of any system, without characters that cannot be shown."""
    last = Path((filename or "").replace("\\", "/")).name
    return "".join(character for character in last if character.isprintable())[:_LONGEST_FILENAME] or None


def _new_job_id() -> str:
    from service.jobs.queue import new_job_id

    return new_job_id()
