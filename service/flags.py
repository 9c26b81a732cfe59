"""Options of commands: how they are checked, and what is told of those that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import YaopError

Options = TypeVar("Options", bound=BaseModel)


def check_flags(model: type[Options], given: Mapping[str, Any], flags: Mapping[str, str] | None = None) -> Options:
    """The options, validated.

    Args:
        model: of the options.
        given: their values.
        flags: what the user calls those that have another name, without dashes before it.

    Raises:
        YaopError: one is wrong; the message names its flag.
    """
    try:
        return model(**given)
    except ValidationError as error:
        raise YaopError("; ".join(_describe(item, flags or {}) for item in error.errors())) from None


def _describe(item: Any, flags: Mapping[str, str]) -> str:
    name = str(item["loc"][0])
    flag = flags.get(name, name).replace("_", "-")
    message = item["msg"].removeprefix("Value error, ")
    return f"--{flag} {item['input']}: {message[:1].lower()}{message[1:]}"
