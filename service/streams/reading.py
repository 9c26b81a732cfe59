"""The text messages of a client, checked."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import from_json

from service.problems import Problem
from service.streams.closing import CloseCode
from service.streams.ending import StreamEnd, bad_message
from service.streams.messages import Hello, StreamOptions
from service.validation import describe_errors

MOST_TEXT = 16_000
"""Characters of a message; the longest sensible one has about a thousand."""

_SHOWN = 40


def read_hello(message: str | bytes) -> Hello:
    """The first message.

    Raises:
        StreamEnd: it is no hello, or not a right one.
    """
    if not isinstance(message, str):
        raise bad_message("The first message is binary; it has to be text, a hello.")
    values = _read_object(message)
    if values.get("type") != "hello":
        raise bad_message(f"The first message has the type {_shown(values.get('type'))}; it has to be a hello.")
    try:
        return Hello(**values)
    except ValidationError as error:
        problem = _invalid(error, "hello")
        raise StreamEnd(CloseCode.BAD_MESSAGE, problem) from None


def read_options(message: str, current: StreamOptions) -> StreamOptions:
    """The options after a later message; what it does not name stays as it is.

    Raises:
        StreamEnd: it is no message that may come now.
        Problem: its options are none.
    """
    values = _read_object(message)
    kind = values.pop("type", None)
    if kind != "options":
        raise bad_message(f"There is no message of the type {_shown(kind)} here; options may be changed.")
    try:
        return StreamOptions(**(current.model_dump() | values))
    except ValidationError as error:
        raise _invalid(error, "options") from None


def _read_object(message: str) -> dict[str, Any]:
    if len(message) > MOST_TEXT:
        detail = f"A text message has {len(message)} characters; at most {MOST_TEXT} are accepted."
        raise StreamEnd(CloseCode.TOO_BIG, Problem(413, "message-too-large", detail))
    try:
        values = from_json(message, allow_inf_nan=False)
    except ValueError as error:
        raise bad_message(f"A text message is no JSON: {error}.") from None
    if not isinstance(values, dict):
        raise bad_message("A text message is JSON, but no object.")
    return values


def _invalid(error: ValidationError, place: str) -> Problem:
    found = [{**item, "loc": (place, *item["loc"])} for item in error.errors()]
    errors = describe_errors(RequestValidationError(found))
    detail = "; ".join(f"{item['name']}: {item['message']}" for item in errors)
    return Problem(422, "invalid-parameters", detail, errors=errors)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
