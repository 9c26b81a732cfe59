"""Which kind of answer a caller prefers, by its ``Accept`` header."""

from __future__ import annotations

from typing import Literal

PictureFormat = Literal["jpeg", "png"]

_PICTURES: dict[str, PictureFormat] = {
    "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/*": "jpeg",
}  # fmt: skip
_DATA = frozenset({"application/json", "application/*", "*/*"})


def picture_format(draw: bool | None, accept: str) -> PictureFormat | None:
    """The picture format to answer with, or None for data.

    Args:
        draw: the caller's explicit wish; None leaves it to `accept`.
        accept: the ``Accept`` header.
    """
    if draw is False:
        return None
    preferred = _by_preference(accept)
    if draw:
        asked: list[PictureFormat] = [_PICTURES[media] for media in preferred if media in _PICTURES]
        return asked[0] if asked else "jpeg"
    first = next((media for media in preferred if media in _PICTURES or media in _DATA), "*/*")
    return _PICTURES.get(first)


def _by_preference(accept: str) -> list[str]:
    ranges = [_parse_range(text) for text in accept.lower().split(",")]
    return [media for media, quality in sorted(ranges, key=lambda item: -item[1]) if media and quality > 0]


def _parse_range(text: str) -> tuple[str, float]:
    media, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media, _quality(value)
    return media, 1.0


def _quality(value: str) -> float:
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 1.0
