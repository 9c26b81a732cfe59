"""How a stream ends: a code, and what is told to the client and the log."""

from __future__ import annotations

from service.problems import Problem
from service.streams.closing import CloseCode, close_reason


class StreamEnd(Exception):
    """Raised anywhere in a stream's tasks to end it.

    Args:
        code: what it is closed with.
        problem: why, for the client.
        unread: the client does not read, so nothing more is sent to it.
    """

    def __init__(self, code: CloseCode, problem: Problem, *, unread: bool = False) -> None:
        super().__init__(problem.detail)
        self.code = code
        self.problem = problem
        self.unread = unread

    @property
    def reason(self) -> str:
        """The text of the close frame."""
        return close_reason(self.problem.kind, self.problem.detail)


class ClientGone(Exception):
    """The client closed, or the connection was lost; there is nobody to tell anything.

    Args:
        code: that the client gave, or that stands for what happened.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"the client closed with {code}")
        self.code = code


def bad_message(detail: str) -> StreamEnd:
    """For a message that the protocol doesn't know, or not at this point."""
    return StreamEnd(CloseCode.BAD_MESSAGE, Problem(400, "bad-message", detail))


def restart() -> StreamEnd:
    """For a service that stops."""
    return StreamEnd(CloseCode.RESTART, Problem(503, "shutting-down", "The service stops. Come back in a second."))
