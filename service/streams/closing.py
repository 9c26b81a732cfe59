"""Why a stream ends: its WebSocket close codes. Those under 4000 are registered ones (RFC 6455, IANA)."""

from __future__ import annotations

from enum import IntEnum

_MOST_REASON_BYTES = 123  # of a close frame, by RFC 6455


class CloseCode(IntEnum):
    """The codes this service closes with."""

    DONE = 1000
    """The client closed; nothing is wrong."""

    TOO_BIG = 1009
    """A message over the limit."""

    INTERNAL_ERROR = 1011
    """A bug of the service, or the client answered no ping."""

    RESTART = 1012
    """The service stops: come back in a moment."""

    TRY_LATER = 1013
    """There are as many streams as may be, in all or from this address."""

    BAD_MESSAGE = 4400
    """A message that the protocol doesn't know, or not at this point."""

    TIMEOUT = 4408
    """No hello, or no message for too long, or results that nobody reads."""

    BAD_SEQUENCE = 4409
    """A sequence number that is not higher than the one before."""

    TOO_MANY = 4429
    """More pictures under way than the client's credits, or a flood of text."""


def close_reason(kind: str, detail: str) -> str:
    """The text of a close frame, cut to what fits: a problem's kind, then its detail."""
    return f"{kind}: {detail}".encode()[:_MOST_REASON_BYTES].decode(errors="ignore")
