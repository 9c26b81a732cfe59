"""Request bodies to picture bytes. Everything stays in memory: no picture ever touches a disk."""

from __future__ import annotations

from dataclasses import dataclass, field

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
from service.problems import IMAGE_TYPES, Problem

_OTHER_PARTS = 32


@dataclass
class Part:
    """One part of a multipart body."""

    name: str = ""
    filename: str | None = None
    chunks: list[bytes] = field(default_factory=list[bytes])

    @property
    def data(self) -> bytes:
        """Its content."""
        return b"".join(self.chunks)


async def read_picture(request: Request) -> bytes:
    """The bytes of the one picture in the body: the raw body, or the multipart part ``image``.

    Raises:
        Problem: 415 for another content type, 400 for an empty body or not exactly one ``image`` part.
    """
    declared = media_type_of(request)
    if declared == MULTIPART:
        parts = await _read_parts(request, "image", 1)
        return parts[0].data
    if declared and declared != BINARY and not declared.startswith("image/"):
        raise wrong_type(declared, (*IMAGE_TYPES, BINARY, MULTIPART))
    data = await request.body()
    if not data:
        raise Problem(400, "empty-body", "The body is empty. Send a picture.", accepted=list(IMAGE_TYPES))
    return data


async def read_pictures(request: Request, limit: int) -> list[Part]:
    """The multipart parts ``images``, in order.

    Raises:
        Problem: 415 for another content type, 400 for no such part, 413 for more than `limit`.
    """
    declared = media_type_of(request)
    if declared != MULTIPART:
        raise wrong_type(declared, (MULTIPART,))
    return await _read_parts(request, "images", limit)


async def _read_parts(request: Request, name: str, limit: int) -> list[Part]:
    parts: list[Part] = []

    def open_part(head: PartHead) -> Sink:
        parts.append(Part(head.name, head.filename))
        return parts[-1].chunks.append

    reader = MultipartReader(request.headers["content-type"], open_part, limit + _OTHER_PARTS)
    async for chunk in request.stream():
        reader.write(chunk)
    reader.finish(name, IMAGE_TYPES)
    return _select(parts, name, limit)


def _select(parts: list[Part], name: str, limit: int) -> list[Part]:
    wanted = [part for part in parts if part.name == name]
    if not wanted:
        raise missing_part(name, {part.name for part in parts}, IMAGE_TYPES)
    if len(wanted) > limit:
        hint = " POST /pose/batch takes several parts named images." if limit == 1 else ""
        detail = f"{len(wanted)} parts are named {name}; at most {limit} may be.{hint}"
        raise Problem(413, "too-many-pictures", detail, limit=limit)
    return wanted
