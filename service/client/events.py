"""Server-sent events, as the HTML standard has them; lines end with LF or CR LF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One event.

    Attributes:
        name: its kind; ``message`` unless the server gave one.
        data: what it carries.
        id: to resume after it; None if the server gave none.
    """

    name: str
    data: str
    id: str | None


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in the body of an answer; comments, and an event that the end cuts off, are left out.

    Args:
        chunks: the body as it arrives, cut anywhere.
    """
    fields: dict[str, list[str]] = {}
    for line in _lines(chunks):
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
            continue
        if "data" in fields:
            yield Event(fields.get("event", ["message"])[-1], "\n".join(fields["data"]), fields.get("id", [None])[-1])
        fields = {}


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:  # not `iter_lines` of httpx: it also breaks at separators that JSON may hold
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines)
