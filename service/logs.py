"""Structured logs: one line per event, as JSON for machines or as text for people."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

request_id: ContextVar[str | None] = ContextVar("yaop_request_id", default=None)
"""Id of the request being answered; every line logged meanwhile carries it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, style: Literal["auto", "json", "text"]) -> None:
    """Send all logs of this process to stderr, from `level` up, in this style (auto: text on a terminal)."""
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was passed as ``extra``, after the request's id."""
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    identity = request_id.get()
    return ({"request_id": identity} if identity else {}) | extra


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= fields_of(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """``12:30:01 info request method=POST path=/pose status=200``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line; an exception follows on lines of its own."""
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        line = f"{self.formatTime(record, self.datefmt)} {record.levelname.lower()} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
