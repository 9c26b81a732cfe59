"""Files of video jobs as answers: ranges of them, whether a client has them already, and under which name."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from service.problems import Problem

_RANGES = re.compile(r"bytes=\s*(\d{1,18}-\d{0,18}|-\d{1,18})(\s*,\s*(\d{1,18}-\d{0,18}|-\d{1,18}))*\s*")


def file_response(request: Request, path: Path, *, etag: str, filename: str, media_type: str, shown: bool) -> Response:
    """A file, or the ranges of it that were asked for, or 304 if the client has it.

    Args:
        request: with its ``Range``, ``If-Range`` and ``If-None-Match``.
        path: of the file.
        etag: the same as long as the file is.
        filename: to save it as.
        media_type: of the file.
        shown: whether a browser is to show it rather than to save it.

    Raises:
        Problem: 416, none of the ranges is in the file.
    """
    headers = {
        "ETag": f'"{etag}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": content_disposition(filename, "inline" if shown else "attachment"),
    }
    if _has_it(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    _keep_satisfiable_ranges(request, path.stat().st_size, headers["ETag"])
    return FileResponse(path, headers=headers, media_type=media_type)


def content_disposition(filename: str, kind: str = "attachment") -> str:
    """The header that names a file (RFC 6266): in ASCII for old clients, and as it is."""
    plain = re.sub(r'[^ -~]|["\\%/]', "_", filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'{kind}; filename="{plain}"{extended}'


def _has_it(given: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags


def _keep_satisfiable_ranges(request: Request, size: int, etag: str) -> None:
    """Rewrite ``Range`` to what Starlette takes: what is malformed is ignored, as RFC 9110 asks for."""
    given = request.headers.get("range")
    if given is None:
        return
    kept: list[str] = []
    wanted = request.headers.get("if-range") in (None, etag) and _RANGES.fullmatch(given) is not None
    if wanted and not _reversed(given):
        kept = [text for text in _specs(given) if _is_in(text, size)]
        if not kept:
            detail = f"The file has {size} bytes; none of the ranges {given[:80]} is in it."
            raise Problem(416, "range-not-satisfiable", detail, headers={"Content-Range": f"bytes */{size}"})
    others = [(name, value) for name, value in request.scope["headers"] if name.lower() != b"range"]
    request.scope["headers"] = [*others, *([(b"range", f"bytes={','.join(kept)}".encode())] if kept else [])]


def _specs(given: str) -> list[str]:
    return [text.strip() for text in given.strip().removeprefix("bytes=").split(",")]


def _reversed(given: str) -> bool:
    pairs = [text.split("-") for text in _specs(given)]
    return any(first and last and int(last) < int(first) for first, last in pairs)


def _is_in(spec: str, size: int) -> bool:
    first, last = spec.split("-")
    return int(first) < size if first else int(last) > 0 and size > 0
