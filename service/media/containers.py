"""Containers by their first bytes: those that are accepted, and those that are told apart to say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from service.media.descriptors import read_at
from service.media.video_errors import VideoError

ACCEPTED = "MP4, MOV, AVI, Matroska (MKV) and WebM"

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof")
_OTHERS = {
    b"OggS": "Ogg",
    b"FLV": "Flash video",
    b"\x30\x26\xb2\x75": "ASF (Windows Media)",
    b"\x00\x00\x01\xba": "an MPEG program stream",
    b".RMF": "RealMedia",
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a list of files",
    b"<?xml": "XML",
    b"<MPD": "a DASH manifest",
    b"GIF8": "GIF",
    b"nut/": "NUT",
}
_TRANSPORT_PACKET = 188
_SEGMENT = b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"
_MANY_HEADERS = 1 << 20  # bytes: cover pictures and fonts included


@dataclass(frozen=True)
class Container:
    """A kind of container.

    Attributes:
        name: as people know it.
        demuxer: FFmpeg's name.
    """

    name: Literal["mp4", "avi", "matroska"]
    demuxer: str

    def broken(self, descriptor: int) -> VideoError:
        """Why a demuxer cannot open such a file."""
        if self.name == "mp4" and not any(kind == b"moov" for kind, _ in _boxes(descriptor)):
            return VideoError("truncated", "the file is cut off: its index (moov) is missing; upload it again")
        if self.missing_bytes(descriptor):
            return VideoError("truncated", "the file is cut off within its headers; upload it again")
        head = read_at(descriptor, _MANY_HEADERS, 0)
        if self.name == "matroska" and _SEGMENT in head and _CLUSTER not in head:
            return VideoError("no-frames", "there is not one frame in it")
        return VideoError("corrupt", f"the headers of the {self.name.upper()} file are broken")

    def missing_bytes(self, descriptor: int) -> int:
        """How much longer the file says it is than it is; 0 where it doesn't say."""
        size = os.fstat(descriptor).st_size
        if self.name == "mp4":
            promised = max((end for _, end in _boxes(descriptor)), default=0)
        elif self.name == "avi":
            promised = 8 + int.from_bytes(read_at(descriptor, 4, 4), "little")
        else:
            promised = _segment_end(read_at(descriptor, 4096, 0))
        return max(0, promised - size)


_MP4 = Container("mp4", "mov,mp4,m4a,3gp,3g2,mj2")
_AVI = Container("avi", "avi")
_MATROSKA = Container("matroska", "matroska,webm")


def container_of(head: bytes, size: int) -> Container:
    """The container of a file.

    Args:
        head: its first bytes, a few hundred at least if it has them.
        size: of the file, in bytes.

    Raises:
        VideoError: it is none that is accepted.
    """
    if head[4:8] in _BOXES:
        return _MP4
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return _AVI
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _MATROSKA
    other = next((name for magic, name in _OTHERS.items() if head.lstrip().startswith(magic)), None)
    if head[:1] == b"G" and head[_TRANSPORT_PACKET : _TRANSPORT_PACKET + 1] == b"G":
        other = "an MPEG transport stream"
    if other is not None:
        raise VideoError("unsupported-container", f"it is {other}; accepted are {ACCEPTED}")
    raise VideoError("not-video", f"its {size} bytes are not a video; accepted are {ACCEPTED}")


def _boxes(descriptor: int) -> Iterator[tuple[bytes, int]]:
    """Names of an MP4 file's outermost boxes and where each ends, to the first that is not whole."""
    size, position = os.fstat(descriptor).st_size, 0
    while position + 8 <= size:
        head = read_at(descriptor, 16, position)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8:
            return
        position += length
        yield head[4:8], position


def _segment_end(head: bytes) -> int:
    """Where the segment of a Matroska file ends; 0 if it doesn't say."""
    start = head.find(_SEGMENT) + len(_SEGMENT)
    if start < len(_SEGMENT) or start >= len(head) or not head[start]:
        return 0
    width = 9 - head[start].bit_length()
    value = int.from_bytes(head[start : start + width]) & ((1 << 7 * width) - 1)
    return 0 if value == (1 << 7 * width) - 1 else start + width + value
