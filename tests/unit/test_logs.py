from __future__ import annotations

import json
import logging
import sys

from service import logs


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("test").makeRecord("test", logging.INFO, "file", 1, message, (), None, extra=extra)
    assert isinstance(made, logging.LogRecord)
    return made


def test_a_json_line_carries_the_events_fields_and_the_requests_id() -> None:
    token = logs.request_id.set("abc")
    try:
        line = json.loads(logs.JsonFormatter().format(record("request", status=200, path="/pose")))
    finally:
        logs.request_id.reset(token)
    assert line["message"] == "request"
    assert line["level"] == "info"
    assert (line["status"], line["path"], line["request_id"]) == (200, "/pose", "abc")


def test_a_line_break_in_a_message_does_not_break_the_json_line() -> None:
    assert "\n" not in logs.JsonFormatter().format(record("two\nlines", path="/a\nb"))


def test_an_exception_is_part_of_the_json_line() -> None:
    made = record("failed")
    try:
        raise RuntimeError("cause")
    except RuntimeError:
        made.exc_info = sys.exc_info()
    line = logs.JsonFormatter().format(made)
    assert "\n" not in line
    assert "RuntimeError: cause" in json.loads(line)["exception"]


def test_a_text_line_shows_the_fields_after_the_message() -> None:
    assert logs.TextFormatter().format(record("request", status=200)).endswith("info request status=200")
