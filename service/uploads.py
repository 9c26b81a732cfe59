"""Request bodies to picture bytes. Everything stays in memory: no upload ever touches a disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.problems import IMAGE_TYPES, Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MULTIPART = "multipart/form-data"
_BINARY = "application/octet-stream"
_OTHER_PARTS = 32


@dataclass
class Part:
    """One part of a multipart body; its declared type is ignored, the bytes decide."""

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
    declared = _media_type(request)
    if declared == _MULTIPART:
        parts = await _read_parts(request, "image", 1)
        return parts[0].data
    if declared and declared != _BINARY and not declared.startswith("image/"):
        raise _wrong_type(declared, (*IMAGE_TYPES, _BINARY, _MULTIPART))
    data = await request.body()
    if not data:
        raise Problem(400, "empty-body", "The body is empty. Send a picture.", accepted=list(IMAGE_TYPES))
    return data


async def read_pictures(request: Request, limit: int) -> list[Part]:
    """The multipart parts ``images``, in order.

    Raises:
        Problem: 415 for another content type, 400 for no such part, 413 for more than `limit`.
    """
    declared = _media_type(request)
    if declared != _MULTIPART:
        raise _wrong_type(declared, (_MULTIPART,))
    return await _read_parts(request, "images", limit)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _wrong_type(declared: str, accepted: tuple[str, ...]) -> Problem:
    given = f"Content-Type {declared}" if declared else "A body without a Content-Type"
    detail = f"{given} is not accepted here. Accepted: {', '.join(accepted)}."
    return Problem(415, "unsupported-media-type", detail, headers={"Accept": ", ".join(accepted)}, accepted=accepted)


async def _read_parts(request: Request, name: str, limit: int) -> list[Part]:
    collector = _Collector(limit + _OTHER_PARTS)
    parser = MultipartParser(_boundary(request), collector.callbacks())
    try:
        async for chunk in request.stream():
            parser.write(chunk)
    except FormParserError:
        raise _malformed("it does not follow the multipart format") from None
    if not collector.parts and not collector.finished:
        raise Problem(400, "empty-body", f"The body is empty. Send a part named {name}.", accepted=list(IMAGE_TYPES))
    if not collector.finished:
        raise _malformed("it ends before its closing boundary")
    return _select(collector.parts, name, limit)


def _boundary(request: Request) -> bytes:
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise _malformed("its Content-Type has no boundary")
    return boundary


def _malformed(why: str) -> Problem:
    return Problem(400, "malformed-multipart", f"The multipart body cannot be read: {why}.")


def _select(parts: list[Part], name: str, limit: int) -> list[Part]:
    wanted = [part for part in parts if part.name == name]
    if not wanted:
        found = ", ".join(sorted({part.name for part in parts})) or "none"
        detail = f"The multipart body has no part named {name} (parts found: {found})."
        raise Problem(400, "missing-part", detail, accepted=list(IMAGE_TYPES))
    if len(wanted) > limit:
        hint = " POST /pose/batch takes several parts named images." if limit == 1 else ""
        detail = f"{len(wanted)} parts are named {name}; at most {limit} may be.{hint}"
        raise Problem(413, "too-many-pictures", detail, limit=limit)
    return wanted


class _Collector:
    """Gathers parts from the parser's callbacks."""

    def __init__(self, limit: int) -> None:
        self.parts: list[Part] = []
        self.finished = False
        self._limit = limit
        self._field = b""
        self._value = b""

    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= self._limit:
            raise Problem(413, "too-many-parts", f"The multipart body has more than {self._limit} parts.")
        self.parts.append(Part())

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].chunks.append(data[start:end])

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            self.parts[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
            filename = options.get(b"filename")
            self.parts[-1].filename = None if filename is None else filename.decode("utf-8", "replace")
        self._field = self._value = b""

    def _end(self) -> None:
        self.finished = True
