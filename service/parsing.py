"""Values that people type, in a query or on a command line: what is read of them, and within which limits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.geometry import Box

RESOLUTIONS = {"fast": 256, "balanced": 384, "accurate": 512}
MIN_LONG_SIDE, MAX_LONG_SIDE = 128, 1024
MOST_PEOPLE = 100

RESOLUTION_VALUES = f"{', '.join(RESOLUTIONS)}, or a whole number of pixels from {MIN_LONG_SIDE} to {MAX_LONG_SIDE}"


def parse_resolution(value: object) -> int:
    """The long side in pixels that a name or a number stands for.

    Raises:
        ValueError: it is neither; the message lists what there is.
    """
    text = str(value).strip().lower()
    if text in RESOLUTIONS:
        return RESOLUTIONS[text]
    if text.isdecimal() and MIN_LONG_SIDE <= int(text[:9]) <= MAX_LONG_SIDE:
        return int(text)
    raise ValueError(f"must be {RESOLUTION_VALUES}")


Resolution = Annotated[
    int,
    PlainValidator(parse_resolution),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(RESOLUTIONS)},
                {"type": "integer", "minimum": MIN_LONG_SIDE, "maximum": MAX_LONG_SIDE},
            ],
            "default": "balanced",
        }
    ),
]
"""The long side in pixels, by name or number, as a field of a pydantic model."""


def only_known(known: Collection[str], values: Any) -> Any:
    """The values, if each has a known name; for validators that run before a model's own.

    Raises:
        PydanticCustomError: one has another; it lists the known ones.
    """
    for name in values:
        if name not in known:
            told = {"name": str(name)[:80], "valid": ", ".join(known)}
            raise PydanticCustomError("unknown_parameter", "is no parameter of this call; valid: {valid}", told)
    return values


def parse_roi(value: object) -> Box | None:
    """The box that ``x,y,w,h`` stands for: whole pixels of the upright picture; None for no value.

    Raises:
        ValueError: it is not four whole numbers with a positive width and height.
    """
    if value is None or isinstance(value, Box):
        return value
    try:
        x, y, width, height = (int(part) for part in str(value)[:64].split(","))
    except ValueError:
        raise ValueError("must be x,y,width,height in whole pixels, e.g. 100,50,320,240") from None
    if width < 1 or height < 1:
        raise ValueError("must have a width and a height of at least 1")
    return Box(x, y, width, height)
