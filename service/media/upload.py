"""A video upload, written to a file as it arrives; however long it is, a megabyte of it is in memory."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from service.multipart import (
    BINARY,
    MULTIPART,
    MultipartReader,
    PartHead,
    Sink,
    media_type_of,
    missing_part,
    wrong_type,
)
from service.problems import Problem
from service.sizes import readable_bytes

VIDEO_TYPES = ("video/mp4", "video/quicktime", "video/x-msvideo", "video/x-matroska", "video/webm")
PART = "video"

_ENVELOPE_BYTES = 1 << 20  # what a multipart body may have around its file
_BUFFER_BYTES = 1 << 20
_MOST_PARTS = 64
_FIELD_BYTES = 4096
_STALL_SECONDS = 120.0


@dataclass(frozen=True)
class Upload:
    """A video that has arrived.

    Attributes:
        path: of the file.
        filename: as the client calls it; None if it said nothing.
        size: bytes.
        digest: SHA-256 of the bytes, hexadecimal.
        fields: the other fields of the form.
    """

    path: Path
    filename: str | None
    size: int
    digest: str
    fields: dict[str, str]


async def receive_video(request: Request, path: Path, limit: int, *, free_bytes: int | None = None) -> Upload:
    """Write the video in the body (raw, or the multipart part ``video``) to a file.

    A client that sends nothing for two minutes is taken for gone.

    Args:
        request: its body must not have been read.
        path: of the file; its folder exists. Removing it after a failure is the caller's.
        limit: most bytes of the video.
        free_bytes: of the disk; a body that says it is longer is refused before it is read.

    Raises:
        Problem: 400 for an empty or malformed body, 408 for one that stalls, 413 over `limit`, 415 for another content
            type, 507 if the disk is full.
        ClientDisconnect: the client hung up in the middle.
    """
    declared = media_type_of(request)
    if declared and declared not in (MULTIPART, BINARY) and not declared.startswith("video/"):
        raise wrong_type(declared, (*VIDEO_TYPES, BINARY, MULTIPART))
    _check_declared_length(request, limit + (_ENVELOPE_BYTES if declared == MULTIPART else 0), limit, free_bytes)
    async with _writing(path, limit) as file:
        if declared == MULTIPART:
            return await _receive_form(request, file)
        async for chunk in _chunks(request):
            file.take(chunk)
            await file.write_some()
        return await file.finish(None, {})


class _VideoFile:
    """The file that the video goes to; bytes are gathered, then written and hashed on another thread."""

    def __init__(self, path: Path, stream: BinaryIO, limit: int) -> None:
        self._path = path
        self._stream = stream
        self._limit = limit
        self._size = 0
        self._waiting = bytearray()
        self._hash = hashlib.sha256()

    def take(self, data: bytes) -> None:
        """More bytes of the video."""
        self._size += len(data)
        if self._size > self._limit:
            raise too_many_bytes(self._limit)
        self._waiting += data

    async def write_some(self) -> None:
        """Write what waits, if it is worth it."""
        if len(self._waiting) >= _BUFFER_BYTES:
            await self._write()

    async def finish(self, filename: str | None, fields: dict[str, str]) -> Upload:
        """Write the rest."""
        if not self._size:
            raise Problem(400, "empty-body", "The video is empty. Send one.", accepted=list(VIDEO_TYPES))
        await self._write()
        return Upload(self._path, filename, self._size, self._hash.hexdigest(), fields)

    async def _write(self) -> None:
        data, self._waiting = self._waiting, bytearray()
        await asyncio.to_thread(self._write_and_hash, data)

    def _write_and_hash(self, data: bytearray) -> None:
        self._stream.write(data)
        self._stream.flush()
        self._hash.update(data)


@asynccontextmanager
async def _writing(path: Path, limit: int) -> AsyncIterator[_VideoFile]:
    try:
        with path.open("wb") as stream:
            yield _VideoFile(path, stream, limit)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full() from error


@dataclass
class _Form:
    """What the parts of a form have brought so far."""

    file: _VideoFile
    videos: list[PartHead] = field(default_factory=list[PartHead])
    fields: dict[str, bytearray] = field(default_factory=dict[str, bytearray])
    names: set[str] = field(default_factory=set[str])

    def open_part(self, head: PartHead) -> Sink:
        """Where the bytes of this part go."""
        self.names.add(head.name)
        if head.name == PART:
            self.videos.append(head)
            if len(self.videos) > 1:
                raise Problem(400, "too-many-videos", f"Several parts are named {PART}; send one video at a time.")
            return self.file.take
        if head.name in self.fields:
            raise Problem(400, "repeated-field", f"The form has the field {head.name[:80]} more than once.")
        value = self.fields[head.name] = bytearray()
        return lambda data: _extend(value, data, head.name)


def _extend(value: bytearray, data: bytes, name: str) -> None:
    value += data
    if len(value) > _FIELD_BYTES:
        detail = f"The field {name[:80]} has more than {_FIELD_BYTES} bytes. The video goes into the part {PART}."
        raise Problem(413, "field-too-long", detail, limit_bytes=_FIELD_BYTES)


async def _receive_form(request: Request, file: _VideoFile) -> Upload:
    form = _Form(file)
    reader = MultipartReader(request.headers["content-type"], form.open_part, _MOST_PARTS)
    async for chunk in _chunks(request):
        reader.write(chunk)
        await file.write_some()
    reader.finish(PART, VIDEO_TYPES)
    if not form.videos:
        raise missing_part(PART, form.names, VIDEO_TYPES)
    fields = {name: value.decode("utf-8", "replace") for name, value in form.fields.items()}
    return await file.finish(form.videos[0].filename, fields)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(_STALL_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            detail = f"Nothing of the body came for {_STALL_SECONDS:g} seconds. Nothing was kept; send it again."
            raise Problem(408, "upload-stalled", detail, headers={"Connection": "close"}) from None
        if chunk is None:
            return
        yield chunk


def _check_declared_length(request: Request, most: int, limit: int, free_bytes: int | None) -> None:
    length = declared_length(request)
    if length > most:
        raise too_many_bytes(limit)
    if free_bytes is not None and length > free_bytes:
        raise disk_full()


def declared_length(request: Request) -> int:
    """Bytes of the body, as its head says; 0 if it does not."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


def too_many_bytes(limit: int) -> Problem:
    """The 413 for a video of more than `limit` bytes."""
    detail = (
        f"The video is larger than the limit of {readable_bytes(limit)}. Send a shorter one, or one of fewer pixels."
    )
    return Problem(413, "body-too-large", detail, limit_bytes=limit)


def disk_full() -> Problem:
    """The 507 for an upload that does not fit."""
    return Problem(507, "disk-full", "The disk of the service is full. Nothing was kept; try again later.")


def is_disk_full(error: OSError) -> bool:
    """Whether it says that a disk, or somebody's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
