"""A zip archive that is made while it is sent: members come one by one, and only their directory is in memory.

`zipfile` keeps an object for each member, which for the frames of a long video are hundreds of megabytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

_DATE = (1 << 5) | 1  # 1980-01-01: the same members give the same archive
_UTF8_NAMES = 1 << 11
_DEFLATED = 8
_VERSION, _VERSION_64 = 20, 45
_MOST_32 = 0xFFFFFFFF
_MOST_16 = 0xFFFF


def zip_stream(members: Iterable[tuple[str, bytes]], offset: int = 0) -> Iterator[bytes]:
    """The bytes of an archive of these members, compressed.

    Args:
        members: name and content, of less than 4 GiB each.
        offset: bytes of something else that precedes the archive in its file.
    """
    directory = bytearray()
    count = 0
    for name, content in members:
        packed = zlib.compress(content, 6, wbits=-15)
        encoded = name.encode()
        common = struct.pack(
            "<HHHHLLLH", _UTF8_NAMES, _DEFLATED, 0, _DATE, zlib.crc32(content), len(packed), len(content), len(encoded)
        )
        local = struct.pack("<4sH", b"PK\3\4", _VERSION) + common + struct.pack("<H", 0) + encoded + packed
        directory += _entry(common, encoded, offset)
        offset += len(local)
        count += 1
        yield local
    yield bytes(directory)
    yield _end(count, len(directory), offset)


def _entry(common: bytes, name: bytes, offset: int) -> bytes:
    """The member in the directory at the end."""
    extra = b"" if offset < _MOST_32 else struct.pack("<HHQ", 1, 8, offset)
    version = _VERSION_64 if extra else _VERSION
    head = struct.pack("<4sHH", b"PK\1\2", version, version)
    tail = struct.pack("<HHHHLL", len(extra), 0, 0, 0, 0, min(offset, _MOST_32))
    return head + common + tail + name + extra


def _end(count: int, size: int, offset: int) -> bytes:
    """What follows the directory; with its 64-bit form where a number is too large for the old one."""
    long_form = b""
    if count >= _MOST_16 or size >= _MOST_32 or offset >= _MOST_32:
        record = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, _VERSION_64, _VERSION_64, 0, 0, count, count, size, offset)
        long_form = record + struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
    few = min(count, _MOST_16)
    old = struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, few, few, min(size, _MOST_32), min(offset, _MOST_32), 0)
    return long_form + old
