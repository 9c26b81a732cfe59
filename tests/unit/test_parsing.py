from __future__ import annotations

import pytest

from service.parsing import parse_resolution, parse_roi
from shared.geometry import Box


@pytest.mark.parametrize(
    ("text", "expected"),
    [("fast", 256), ("Balanced", 384), ("accurate", 512), ("128", 128), (" 1024 ", 1024), (300, 300)],
)
def test_a_resolution_is_a_name_or_a_number_of_pixels(text: object, expected: int) -> None:
    assert parse_resolution(text) == expected


@pytest.mark.parametrize("text", ["", "slow", "127", "1025", "-256", "256.5", "1e3", "9" * 50, "²"])
def test_another_resolution_is_refused_with_the_valid_ones(text: str) -> None:
    with pytest.raises(ValueError, match="fast, balanced, accurate, or a whole number of pixels from 128 to 1024"):
        parse_resolution(text)


def test_a_region_is_four_whole_numbers() -> None:
    assert parse_roi("1, -2,30,40") == Box(1, -2, 30, 40)
    assert parse_roi(None) is None


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", "1,2,0,4", "1,2,3,-4", "9" * 5000])
def test_another_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_roi(text)
