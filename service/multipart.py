"""Multipart bodies, read as they arrive: whoever reads them says what becomes of each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART = "multipart/form-data"
BINARY = "application/octet-stream"


class PartHead(NamedTuple):
    """What a part says of itself; its declared type is ignored, the bytes decide.

    Attributes:
        name: of the form's field; empty if it has none.
        filename: as the client calls it; None if it has none.
    """

    name: str
    filename: str | None


Sink = Callable[[bytes], object]
"""Takes the next bytes of a part."""


class MultipartReader:
    """Takes the bytes of a body in pieces of any size.

    Args:
        content_type: the header of the request.
        open_part: gives what takes the bytes of a part; called for each, in their order.
        limit: most parts.

    Raises:
        Problem: 400, the content type has no boundary.
    """

    def __init__(self, content_type: str, open_part: Callable[[PartHead], Sink], limit: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise _malformed("its Content-Type has no boundary")
        self._parser = MultipartParser(boundary, self._callbacks())
        self._open_part = open_part
        self._limit = limit
        self._count = 0
        self._finished = False
        self._field = self._value = b""
        self._head = PartHead("", None)
        self._sink: Sink = _ignore

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            Problem: 400 for what is no multipart, 413 for more than `limit` parts.
        """
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed("it does not follow the multipart format") from None

    def finish(self, wanted: str, accepted: Sequence[str]) -> None:
        """Call this at the end of the body.

        Args:
            wanted: name of the part that was waited for.
            accepted: media types that it may be of.

        Raises:
            Problem: 400, the body is empty or ends too early.
        """
        if not self._count and not self._finished:
            raise Problem(400, "empty-body", f"The body is empty. Send a part named {wanted}.", accepted=list(accepted))
        if not self._finished:
            raise _malformed("it ends before its closing boundary")

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if self._count >= self._limit:
            raise Problem(413, "too-many-parts", f"The multipart body has more than {self._limit} parts.")
        self._count += 1
        self._head = PartHead("", None)

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            filename = options.get(b"filename")
            name = options.get(b"name", b"").decode("utf-8", "replace")
            self._head = PartHead(name, None if filename is None else filename.decode("utf-8", "replace"))
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        self._sink = self._open_part(self._head)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._sink(data[start:end])

    def _end(self) -> None:
        self._finished = True


def media_type_of(request: Request) -> str:
    """The declared type of the body without its parameters; empty if none is declared."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def wrong_type(declared: str, accepted: tuple[str, ...]) -> Problem:
    """The 415 for a body of another type than those accepted."""
    given = f"Content-Type {declared}" if declared else "A body without a Content-Type"
    detail = f"{given} is not accepted here. Accepted: {', '.join(accepted)}."
    return Problem(415, "unsupported-media-type", detail, headers={"Accept": ", ".join(accepted)}, accepted=accepted)


def missing_part(name: str, found: set[str], accepted: Sequence[str]) -> Problem:
    """The 400 for a body without the part that matters."""
    listed = ", ".join(sorted(found)) or "none"
    detail = f"The multipart body has no part named {name} (parts found: {listed})."
    return Problem(400, "missing-part", detail, accepted=list(accepted))


def _malformed(why: str) -> Problem:
    return Problem(400, "malformed-multipart", f"The multipart body cannot be read: {why}.")


def _ignore(data: bytes) -> None:
    """No part has begun."""
