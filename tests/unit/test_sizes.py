"""Numbers of bytes for people."""

from __future__ import annotations

import pytest

from service.sizes import readable_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1460, "1.5 kB"),
        (999_949, "999.9 kB"),
        (999_999, "1 MB"),
        (25_000_000, "25 MB"),
        (2_000_000_000, "2 GB"),
        (2_147_483_648, "2.1 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_bytes_are_told_in_the_unit_that_fits(count: int, text: str) -> None:
    assert readable_bytes(count) == text
