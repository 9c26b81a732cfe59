"""What a call to the service can fail with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import httpx
from pydantic import ValidationError

from service.client.address import reason_of, shown_address
from service.wire import ProblemDetails
from shared.errors import YaopError

PASSING_STATUSES: Final = frozenset({429, 502, 503, 504})
"""What a service, or a proxy before it, answers with when it cannot now but may later."""

LOST = 1006
"""A stream's close code where none was received: the connection broke."""

_PASSING_CODES: Final = frozenset({1001, LOST, 1011, 1012, 1013, 1014, 4408})
_SHOWN_CHARACTERS = 200


class ClientError(YaopError):
    """The service answered with a problem, gave no answer, or one that is none of its own.

    Attributes:
        title: what kind of problem it is, for people.
        detail: what was wrong this time, and what would be right.
        status: the HTTP status; None if there was no answer.
        problem: the whole problem object of the answer, if it had one.
        passing: whether the same may work later: there was no answer, or the service said that it cannot now.
    """

    def __init__(
        self, title: str, detail: str, *, status: int | None = None, problem: ProblemDetails | None = None
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.title = title
        self.detail = detail
        self.status = status
        self.problem = problem
        self.passing = status is None or status in PASSING_STATUSES

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
        reason = "it took too long" if isinstance(error, httpx.TimeoutException) else reason_of(error)
        return cls("No answer", f"{_origin(url)}: {reason}")


class StreamTimeout(ClientError):
    """Something of a stream took longer than the caller wanted to wait; the stream goes on."""

    def __init__(self, detail: str) -> None:
        super().__init__("No answer", detail)


class PictureError(ClientError):
    """One picture of a stream that has no result; the stream goes on.

    Attributes:
        index: its sequence number; None if it was not sent at all.
    """

    def __init__(
        self, title: str, detail: str, *, index: int | None = None, problem: ProblemDetails | None = None
    ) -> None:
        super().__init__(title, detail, status=problem.status if problem else None, problem=problem)
        self.index = index
        self.passing = problem is not None and self.passing


class StreamClosed(ClientError):
    """A stream that is over.

    Attributes:
        code: of the WebSocket's close, as in docs/stream-protocol.md; 1000 if this side ended it, 1006 if the
            connection was lost.
        reason: what the service said, or what broke.
        passing: whether opening another stream may help.
        problem: why the service ended it, if it told.
    """

    def __init__(self, code: int, reason: str, problem: ProblemDetails | None = None) -> None:
        detail = problem.detail if problem else reason or "no reason was given"
        title = problem.title if problem else "Connection lost" if code == LOST else "Stream closed"
        super().__init__(title, detail if code == LOST else f"{detail} (code {code})", problem=problem)
        self.code = code
        self.reason = reason
        self.status = problem.status if problem else None
        self.passing = code in _PASSING_CODES


def not_understood(response: httpx.Response) -> ClientError:
    """The error of an answer that is not what the service answers with."""
    detail = f"what {shown_address(response.url)} answers is not what this version of YAOP expects"
    return ClientError("Not understood", detail, status=response.status_code)


def _phrase(response: httpx.Response) -> str:
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return f"Status {response.status_code}"


def _describe(response: httpx.Response) -> str:
    place = f"{shown_address(response.url)} answered {response.status_code}"
    if response.is_redirect:
        return f"{place}: use the address it redirects to, {shown_address(response.headers.get('location', ''))}"
    text = " ".join(response.text.split())
    shown = text[:_SHOWN_CHARACTERS] if response.headers.get("content-type", "").startswith("text/plain") else ""
    return f"{place}: {shown}" if shown else f"{place}; is this a YAOP service?"


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
