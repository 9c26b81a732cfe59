"""What a child process and its parent tell each other over a pipe: JSON objects, some with bytes behind them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

MAX_HEAD = 1 << 20
HEAD_BYTES = 4  # the length of the JSON text, little-endian


def send(descriptor: int, head: Mapping[str, Any], payload: Iterable[bytes | memoryview] = ()) -> None:
    """Write one message; the receiver knows from `head` how many bytes of `payload` follow."""
    text = json.dumps(head).encode()
    data = memoryview(b"".join((len(text).to_bytes(HEAD_BYTES, "little"), text, *payload)))
    while data:
        data = data[os.write(descriptor, data) :]


def parse_length(data: bytes | bytearray) -> int:
    """The length of the head in bytes.

    Raises:
        ValueError: no head is that long.
    """
    length = int.from_bytes(data, "little")
    if length > MAX_HEAD:
        raise ValueError(f"a message of {length} bytes")
    return length


def parse_head(data: bytes | bytearray) -> dict[str, Any]:
    """The object of a message.

    Raises:
        ValueError: it is not one.
    """
    head = json.loads(data)
    if not isinstance(head, dict):
        raise ValueError("a message that is no object")  # noqa: TRY004 - what json.loads raises too
    return head
