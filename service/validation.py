"""Validation errors of query parameters, told in the caller's terms."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError

_SHOWN_CHARACTERS = 80


def describe_errors(error: RequestValidationError) -> list[dict[str, str]]:
    """One object per wrong parameter: its name, what would be right, and what was given (cut short)."""
    return [_describe(item) for item in error.errors()]


def _describe(item: Any) -> dict[str, str]:
    place = [str(part) for part in item["loc"]]
    name = place[1] if len(place) > 1 else place[0]
    given = item.get("input")
    if item["type"] == "unknown_parameter":
        name = item["ctx"]["name"]
        given = given.get(name) if isinstance(given, dict) else given
    return {"in": place[0], "name": name, "message": _message(item), "given": _shorten(given)}


def _message(item: Any) -> str:
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("literal_error", "enum"):
        return f"must be one of {item['ctx']['expected']}"
    if item["type"] == "bool_parsing":
        return "must be true or false"
    return message[:1].lower() + message[1:]


def _shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
