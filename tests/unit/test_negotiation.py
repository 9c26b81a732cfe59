from __future__ import annotations

import pytest

from service.negotiation import picture_format


@pytest.mark.parametrize(
    ("draw", "accept", "expected"),
    [
        (None, "", None),
        (None, "*/*", None),
        (None, "application/json", None),
        (None, "image/jpeg", "jpeg"),
        (None, "IMAGE/PNG", "png"),
        (None, "image/*", "jpeg"),
        (None, "image/png;q=0.5, application/json", None),
        (None, "application/json;q=0.5, image/png", "png"),
        (None, "image/png;q=0", None),
        (None, "image/avif,image/png", "png"),
        (None, "text/html", None),
        (None, "image/png;q=oops", "png"),
        (True, "", "jpeg"),
        (True, "application/json", "jpeg"),
        (True, "application/json, image/png;q=0.1", "png"),
        (False, "image/png", None),
    ],
)
def test_the_answer_follows_the_explicit_wish_then_the_accept_header(
    draw: bool | None, accept: str, expected: str | None
) -> None:
    assert picture_format(draw, accept) == expected
