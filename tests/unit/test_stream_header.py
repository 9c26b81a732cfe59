"""The header of a stream's binary messages, and the text of close frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.streams.closing import close_reason
from service.streams.header import HEADER_BYTES, MOST_SEQUENCE, MOST_TIMESTAMP, Header, HeaderError, Kind


@given(st.sampled_from(Kind), st.integers(0, MOST_SEQUENCE), st.floats(0, MOST_TIMESTAMP))
def test_what_is_packed_comes_back(kind: Kind, sequence: int, timestamp: float) -> None:
    packed = Header(kind, sequence, timestamp).pack()
    assert len(packed) == HEADER_BYTES
    assert Header.unpack(packed + b"picture") == (kind, sequence, timestamp)


def test_the_bytes_are_those_of_the_protocol() -> None:
    assert Header(Kind.PICTURE, 258, 1.0).pack().hex(" ") == "01 00 00 10 00 00 01 02 3f f0 00 00 00 00 00 00"


@given(st.binary(max_size=40))
def test_other_bytes_are_an_error_and_nothing_else(data: bytes) -> None:
    try:
        header = Header.unpack(data)
    except HeaderError:
        return
    assert header.pack() == data[:HEADER_BYTES] or header.timestamp == 0  # -0.0 is 0


@given(st.text(), st.text())
def test_a_close_reason_fits_into_its_frame(kind: str, detail: str) -> None:
    try:
        reason = close_reason(kind, detail).encode()
    except UnicodeEncodeError:
        pytest.skip("lone surrogates are in no message of ours")
    assert len(reason) <= 123
    assert f"{kind}: {detail}".encode().startswith(reason)
