"""``python -m service.media.reader_child``: decode one file, frame by frame; see `service.media.reader`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import av.error
from av.packet import Packet
from av.video.frame import PictureType
from av.video.frame import VideoFrame as Decoded
from av.video.stream import VideoStream

from service.media import child_main
from service.media.decoding import DamageLog, decoded_frames, packets_of
from service.media.planes import PlaneConverter
from service.media.source import Source
from service.media.timing import Clock, Timing

T = TypeVar("T")
Frames = Iterator[tuple[int, Decoded]]
_SEEK_TRIES = 4


class ReaderChild:
    """One reading of one file.

    Args:
        request: of `service.media.reader.VideoReader`.
        outlet: where the frames go.
    """

    def __init__(self, request: dict[str, Any], outlet: child_main.Outlet) -> None:
        self._request = request
        self._outlet = outlet
        self._log = DamageLog()
        self._timing = Timing(request["by_order"], request["step"])
        self._start: int | None = request["start"]
        self._notes: list[str] = []

    def read(self) -> None:
        """Send all frames from the start on, what went wrong between them, and the end."""
        if not (self._start is not None and self._request["seekable"] and self._read_by_seeking()):
            with self._source() as source:
                self._send(self._from_start(self._frames(source, packets_of(source, self._log, self._notes.append))))
        self._send_notes()
        self._outlet.send({"end": True})

    def _read_by_seeking(self) -> bool:
        """Whether the start was found by seeking; if not, nothing has been sent."""
        with self._source() as source:
            packets = self._packets_before_start(source)
            if packets is None:
                return False
            frames = self._frames(source, packets)
            found = self._exact_start(frames)
            if found is None:
                self._notes.clear()
                return False
            self._notes.clear()
            self._send(_preceded_by(found, frames))
            return True

    def _packets_before_start(self, source: Source) -> Iterator[Packet[VideoStream]] | None:
        """The packets from a key frame on that is shown no later than the start."""
        assert self._start is not None
        target = self._start
        for _ in range(_SEEK_TRIES):
            with suppress(av.error.FFmpegError):
                source.container.seek(target, stream=source.stream)
                packets = packets_of(source, self._log, self._notes.append)
                first = next(packets, None)
                if first is None or not first.is_keyframe:
                    return None
                shown = first.dts if self._timing.by_order else first.pts
                if shown is not None and shown <= self._start:
                    return _preceded_by(first, packets)
                target = min(target, first.dts if first.dts is not None else target) - 1
        return None

    def _exact_start(self, frames: Frames) -> tuple[int, Decoded] | None:
        """The frame to start with, if decoding began at a clean key frame and came by exactly its time stamp."""
        first = True
        for pts, frame in frames:
            assert self._start is not None
            if first and not (frame.key_frame and frame.pict_type == PictureType.I):
                return None
            first = False
            if pts >= self._start:
                return (pts, frame) if pts == self._start else None
            self._outlet.alive()
        return None

    def _from_start(self, frames: Frames) -> Frames:
        for pts, frame in frames:
            if self._start is None or pts >= self._start:
                yield pts, frame
            else:
                self._notes.clear()
                self._outlet.alive()

    def _source(self) -> Source:
        return Source(Path(self._request["path"]), self._request["max_pixels"], self._request["threads"])

    def _frames(self, source: Source, packets: Iterator[Packet[VideoStream]]) -> Frames:
        return decoded_frames(source, packets, Clock(self._timing), self._log, self._notes.append)

    def _send(self, frames: Frames) -> None:
        width, height = self._request["width"], self._request["height"]
        converter = PlaneConverter(width, height, self._request["matrix"])
        size = (width, height)
        for pts, frame in frames:
            if (frame.width, frame.height) != size:
                self._notes.append(
                    f"its size changes to {frame.width} x {frame.height}; pictures are scaled to {width} x {height}"
                )
            size = (frame.width, frame.height)
            self._send_notes()
            self._outlet.send({"pts": pts, "duration": frame.duration or 0}, converter.planes(frame))

    def _send_notes(self) -> None:
        for note in self._notes:
            self._outlet.send({"note": note})
        self._notes.clear()


def _preceded_by(first: T, rest: Iterator[T]) -> Iterator[T]:
    yield first
    yield from rest


def read(request: dict[str, Any], outlet: child_main.Outlet) -> None:
    """Answer with frames, notes and an end."""
    ReaderChild(request, outlet).read()


if __name__ == "__main__":
    child_main.run(read)
