"""Errors as the client sees them: RFC 9457 problem details, for every status this service answers with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.batching import Closed, DeadlineExceeded, EngineFailed, QueueFull, Unavailable
from service.sizes import readable_bytes
from service.validation import describe_errors
from service.wire import ProblemDetails
from shared.images import ImageError
from shared.inference.estimator import RegionError

CLIENT_GONE = 499
MEDIA_TYPE = "application/problem+json"
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp")

_IMAGE_STATUS = {"empty": 400, "truncated": 400, "corrupt": 400, "unsupported": 415, "too_large_pixels": 413}
_UNAVAILABLE_KIND: dict[type[Unavailable], str] = {
    QueueFull: "queue-full",
    DeadlineExceeded: "deadline-exceeded",
    Closed: "shutting-down",
}


class Problem(Exception):
    """Raised anywhere below a route to answer with a problem.

    Args:
        status: HTTP status.
        kind: end of the problem's type, e.g. ``queue-full``.
        detail: what was wrong and what would be right, for the caller.
        headers: extra response headers, e.g. ``Retry-After``.
        members: extra members of the problem object.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def details(self, request_id: str | None = None) -> ProblemDetails:
        """The object that goes over the wire."""
        return ProblemDetails(
            type=f"urn:yaop:problem:{self.kind}",
            title=self.kind.replace("-", " ").capitalize(),
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            **self.members,
        )

    def response(self, request_id: str | None = None) -> Response:
        """The whole HTTP answer."""
        body = self.details(request_id).model_dump_json(exclude_none=True)
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def body_too_large(limit: int) -> Problem:
    """The 413 for a request body over `limit` bytes."""
    detail = f"The body is larger than the limit of {readable_bytes(limit)}. Send a smaller picture, or fewer of them."
    return Problem(413, "body-too-large", detail, limit_bytes=limit)


def invalid_parameter(name: str, message: str) -> Problem:
    """The 422 for one query parameter, in the form that all wrong ones are told in."""
    errors = [{"in": "query", "name": name, "message": message}]
    return Problem(422, "invalid-parameters", f"{name}: {message}", errors=errors)


def problem_of(error: Exception) -> Problem | None:
    """The problem that an error of the pipeline is told as; None for one that nobody expects."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageError):
        return _image_problem(error)
    if isinstance(error, RegionError):
        return invalid_parameter("roi", str(error))
    if isinstance(error, Unavailable):
        return _unavailable(error)
    if isinstance(error, EngineFailed):
        return Problem(500, "engine-failed", "The engine failed on this picture. The log says why.")
    return None


def _image_problem(error: ImageError) -> Problem:
    kind = "picture-too-large" if error.kind == "too_large_pixels" else f"{error.kind}-image"
    detail = str(error)[:1].upper() + str(error)[1:] + "."
    return Problem(_IMAGE_STATUS[error.kind], kind, detail, accepted=list(IMAGE_TYPES))


def _unavailable(error: Unavailable) -> Problem:
    kind = _UNAVAILABLE_KIND.get(type(error), "unavailable")
    return Problem(503, kind, str(error), headers={"Retry-After": str(math.ceil(max(1.0, error.retry_after)))})


def request_id_of(request: Request) -> str | None:
    """The id that the request-id middleware gave this request."""
    return request.scope.get("request_id")


def install(app: FastAPI) -> None:
    """Answer every error raised under `app` with problem details."""
    for kind in (Problem, ImageError, RegionError, Unavailable, EngineFailed):
        app.add_exception_handler(kind, _on_expected)
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_expected(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    assert problem is not None
    return problem.response(request_id_of(request))


async def _on_client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # nobody reads it; the log and the metrics do


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = describe_errors(error)
    detail = "; ".join(f"{item['name']}: {item['message']}" for item in errors)
    return Problem(422, "invalid-parameters", detail, errors=errors).response(request_id_of(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = error.detail
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}. /docs lists what there is."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{request.url.path} does not take {request.method}; it takes {allowed}."
    problem = Problem(error.status_code, phrase.lower().replace(" ", "-"), detail, headers=error.headers)
    return problem.response(request_id_of(request))
