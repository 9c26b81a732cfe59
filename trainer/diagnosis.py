"""What `yaop train doctor` finds: one line for each thing it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How bad it is: fine, perhaps not what was meant, or training will not work."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: how it is.
        detail: what was found.
        hint: what to do about it, or "".
    """

    name: str
    status: Status
    detail: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return asdict(self)


def ok(name: str, detail: str, hint: str = "") -> Check:
    """Something that is as it should be."""
    return Check(name, Status.OK, detail, hint)


def warn(name: str, detail: str, hint: str = "") -> Check:
    """Something that may not be what was meant."""
    return Check(name, Status.WARN, detail, hint)


def fail(name: str, detail: str, hint: str = "") -> Check:
    """Something that will stop the training."""
    return Check(name, Status.FAIL, detail, hint)
