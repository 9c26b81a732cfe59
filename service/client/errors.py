"""What a call to the service can fail with."""

from __future__ import annotations

import re
from http import HTTPStatus

import httpx
from pydantic import ValidationError

from service.wire import ProblemDetails
from shared.errors import YaopError

_SHOWN_CHARACTERS = 200
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class ClientError(YaopError):
    """The service answered with a problem, gave no answer, or one that is none of its own.

    Attributes:
        title: what kind of problem it is, for people.
        detail: what was wrong this time, and what would be right.
        status: the HTTP status; None if there was no answer.
        problem: the whole problem object of the answer, if it had one.
    """

    def __init__(
        self, title: str, detail: str, *, status: int | None = None, problem: ProblemDetails | None = None
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.title = title
        self.detail = detail
        self.status = status
        self.problem = problem

    @classmethod
    def of_problem(cls, problem: ProblemDetails) -> ClientError:
        """The error that a problem object tells of."""
        return cls(problem.title, problem.detail, status=problem.status, problem=problem)

    @classmethod
    def of_response(cls, response: httpx.Response) -> ClientError:
        """The error of an answer that is no success; its body has been read."""
        try:
            return cls.of_problem(ProblemDetails.model_validate_json(response.content))
        except ValidationError:
            return cls(_phrase(response), _describe(response), status=response.status_code)

    @classmethod
    def of_transport(cls, url: httpx.URL, error: httpx.TransportError) -> ClientError:
        """The error of a request that was not answered."""
        reason = "it took too long" if isinstance(error, httpx.TimeoutException) else _ERRNO.sub("", str(error))
        return cls("No answer", f"{_origin(url)}: {reason or type(error).__name__}")


def not_understood(response: httpx.Response) -> ClientError:
    """The error of an answer that is not what the service answers with."""
    detail = f"what {response.url} answers is not what this version of YAOP expects"
    return ClientError("Not understood", detail, status=response.status_code)


def _phrase(response: httpx.Response) -> str:
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return f"Status {response.status_code}"


def _describe(response: httpx.Response) -> str:
    place = f"{response.url} answered {response.status_code}"
    if response.is_redirect:
        return f"{place}: use the address it redirects to, {response.headers.get('location')}"
    text = " ".join(response.text.split())
    shown = text[:_SHOWN_CHARACTERS] if response.headers.get("content-type", "").startswith("text/plain") else ""
    return f"{place}: {shown}" if shown else f"{place}; is this a YAOP service?"


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
