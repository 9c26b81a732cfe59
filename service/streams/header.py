"""The header of a stream's binary messages: which picture it is, and when its sender took it."""

from __future__ import annotations

import math
import struct
from enum import IntEnum
from typing import NamedTuple

from shared.errors import YaopError

HEADER_BYTES = 16
MOST_SEQUENCE = 2**32 - 1
MOST_TIMESTAMP = 1e10  # seconds; Unix time fits

_FORM = struct.Struct("!BBHId")


class HeaderError(YaopError):
    """Bytes that do not begin with a header of this protocol."""


class Kind(IntEnum):
    """What follows the header."""

    PICTURE = 1
    """A picture to look at: from the client."""

    DRAWN = 2
    """The same picture with its skeletons: from the service."""


_KINDS = frozenset(map(int, Kind))


class Header(NamedTuple):
    """The first 16 bytes of a binary message.

    Attributes:
        kind: what follows.
        sequence: number of the picture, 0 to 2**32 - 1, growing.
        timestamp: when it was taken, in seconds of the client's clock, from 0.
    """

    kind: Kind
    sequence: int
    timestamp: float

    def pack(self) -> bytes:
        """The 16 bytes: kind, 0, the header's length, sequence, timestamp; big-endian."""
        return _FORM.pack(self.kind, 0, HEADER_BYTES, self.sequence, self.timestamp)

    @classmethod
    def unpack(cls, message: bytes) -> Header:
        """The header of a message, whose picture begins at `HEADER_BYTES`.

        Raises:
            HeaderError: there is none; the message says what is wrong.
        """
        if len(message) < HEADER_BYTES:
            raise HeaderError(f"the message has {len(message)} bytes; its header alone has {HEADER_BYTES}")
        kind, zero, length, sequence, timestamp = _FORM.unpack_from(message)
        if kind not in _KINDS or zero != 0 or length != HEADER_BYTES:
            start = " ".join(f"{byte:02x}" for byte in message[:4])
            raise HeaderError(f"the message begins with {start}; a picture's begins with 01 00 00 10")
        if not 0 <= timestamp <= MOST_TIMESTAMP or not math.isfinite(timestamp):
            raise HeaderError(f"the timestamp is {timestamp}; it has to be from 0 to {MOST_TIMESTAMP:g} seconds")
        return cls(Kind(kind), sequence, timestamp)
