"""The child process that joins segments and sound into the file people get: ``python -m service.media.mux_child``."""

from __future__ import annotations

import errno
import heapq
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer

from service.media.child_main import Outlet, run
from service.media.codecs import VideoCodec, find_codec
from service.media.sound import Sound
from service.media.video_errors import VideoError
from service.media.writer import time_base

_INDEX = bytes.fromhex("4e58dd672f23e64e")  # NUT's start code for it
_TAIL_SECONDS = 10.0  # sound may go on for so long after the last picture
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO}
_CLOSING_SECONDS = 60.0
_CLOSING_BYTES_A_SECOND = 4 << 20  # of the file, where a slow disk has it read and written once more
_MUXER_OPTIONS = {
    "mp4": {"movflags": "+faststart"},
    "webm": {"cues_to_front": "1", "reserve_index_space": "0"},
    "avi": {},
}


class _Numbers:
    """File descriptors kept taken until this module opens a file itself.

    Whatever the upload's sound has a demuxer or decoder do, there is no number left for another file or a socket: the
    process is held to those that are in use when the sound is opened (see `service.media.sound`).
    """

    def __init__(self, count: int) -> None:
        self._held = [_any_file() for _ in range(count)]

    def give(self) -> None:
        """Free one for good."""
        os.close(self._held.pop())

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Free one for a file that is closed again in the block."""
        self.give()
        try:
            yield
        finally:
            with suppress(OSError):
                self._held.append(_any_file())


def _any_file() -> int:
    return os.open(os.devnull, os.O_RDONLY)


class _Pictures:
    """The pictures of segments, one after another.

    Args:
        segments: their files.
        fps: pictures a second.
        numbers: has one for a segment.

    Attributes:
        frames: passed on so far.
        end: seconds at which the last of them ends; infinite before it is known.
    """

    def __init__(self, segments: list[Path], fps: float, numbers: _Numbers) -> None:
        self._segments = segments
        self._numbers = numbers
        self._usual = 1 / fps
        self._headers: bytes | None = None
        self.frames = 0
        self.end = math.inf

    def packets(self, output: OutputContainer, codec: VideoCodec) -> Iterator[tuple[float, Any]]:
        """Add a stream to a container without header yet; its packets then, each with its time in seconds."""
        with self._numbers.lent(), _segment(self._segments[0]) as first:
            source: Any = first.streams.video[0]
            target: Any = output.add_stream_from_template(source)
            self._headers = source.codec_context.extradata
            sample_aspect = source.sample_aspect_ratio or Fraction(1)
        target.codec_context.codec_tag = codec.fourcc
        target.codec_context.sample_aspect_ratio = sample_aspect
        target.time_base = time_base(codec, 1 / self._usual)
        return self._lasting(target)

    def _lasting(self, target: Any) -> Iterator[tuple[float, Any]]:
        """Each lasts until the next; the last one as long as the one before."""
        held: Any = None
        lasts = max(1, round(self._usual / target.time_base))
        for packet in self._placed(target):
            if held is not None:
                held.duration = lasts = packet.pts - held.pts
                yield self._passed(held)
            held = packet
        held.duration = lasts
        self.end = float((held.pts + lasts) * held.time_base)
        yield self._passed(held)

    def _passed(self, packet: Any) -> tuple[float, Any]:
        self.frames += 1
        return float(packet.pts * packet.time_base), packet

    def _placed(self, target: Any) -> Iterator[Any]:
        last = -1
        for path in self._segments:
            with self._numbers.lent():
                whole = _is_whole(path)
            if not whole:
                raise VideoError("truncated", f"segment {path.name} is cut off")
            with self._numbers.lent(), _segment(path) as segment:
                for packet in self._checked(segment, path):
                    at: Fraction = packet.pts * packet.time_base
                    last = max(round(at / target.time_base), last + 1)
                    packet.stream, packet.time_base = target, target.time_base
                    packet.pts = packet.dts = last
                    yield packet

    def _checked(self, segment: Any, path: Path) -> Iterator[Any]:
        if segment.streams.video[0].codec_context.extradata != self._headers:
            raise VideoError("corrupt", f"segment {path.name} was encoded with other settings than the first one")
        packets = (packet for packet in segment.demux(video=0) if packet.size)
        first = next(packets, None)
        if first is None or not first.is_keyframe:
            raise VideoError("corrupt", f"segment {path.name} does not begin with a key picture")
        yield first
        yield from packets


def _segment(path: Path) -> Any:
    options = {"protocol_whitelist": "file", "format_whitelist": "nut", "analyzeduration": "0"}
    return av.open(str(path), format="nut", container_options=options)


def _is_whole(path: Path) -> bool:
    """Whether a NUT file has its index, which is written last: its length and a checksum are the last 12 bytes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 12))
        length = int.from_bytes(file.read(8))
        file.seek(max(0, size - length))
        return file.read(8) == _INDEX


def mux(request: dict[str, Any], outlet: Outlet) -> None:
    """Write the file and tell what is in it."""
    try:
        outlet.send(_joined(request, outlet))
    except OSError as error:
        if error.errno not in _DISK:
            raise
        outlet.send({"disk": error.strerror, "errno": error.errno})


def _joined(request: dict[str, Any], outlet: Outlet) -> dict[str, Any]:
    codec = find_codec(request["fourcc"])
    numbers = _Numbers(2)  # a segment, and the result; both must be there before the sound is
    pictures = _Pictures([Path(path) for path in request["segments"]], request["fps"], numbers)
    with ExitStack() as stack:
        sound = _sound(request, codec, pictures)
        if sound is not None:
            stack.enter_context(sound)
        options = _MUXER_OPTIONS[codec.container]
        output = av.open(request["out"], "w", format=codec.container, options=options)
        stack.callback(_close, output, Path(request["out"]), numbers, outlet)
        tracks = [pictures.packets(output, codec)]
        if sound is not None and sound.found:
            tracks.append(sound.packets(output))
        numbers.give()
        output.start_encoding()
        _write(output, heapq.merge(*tracks, key=lambda timed: timed[0]), outlet)
    kept = None if sound is None or not sound.found else "copied" if sound.copies else "converted"
    notes = [] if sound is None else sound.notes
    return {"frames": pictures.frames, "seconds": pictures.end, "audio": kept, "warnings": notes}


def _sound(request: dict[str, Any], codec: VideoCodec, pictures: _Pictures) -> Sound | None:
    if request["sound"] is None:
        return None

    def end() -> float:
        return min(pictures.end + _TAIL_SECONDS, request["max_seconds"])

    path, copies = Path(request["sound"]), request["copy"]
    return Sound(path, request["first_pts"], codec.audio, end, copy=copies)


def _write(output: OutputContainer, packets: Iterable[tuple[float, Any]], outlet: Outlet) -> None:
    for _, packet in packets:
        output.mux_one(packet)
        outlet.alive()


def _close(output: OutputContainer, path: Path, numbers: _Numbers, outlet: Outlet) -> None:
    """End the file. To have its index first, the muxer opens it once more and moves all that it holds."""
    outlet.ask_for_patience(_CLOSING_SECONDS + path.stat().st_size / _CLOSING_BYTES_A_SECOND)
    with numbers.lent():
        output.close()


if __name__ == "__main__":
    run(mux)
