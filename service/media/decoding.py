"""From packets to frames in the child process: what is damaged is told and left out, the rest comes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import av
import av.error
import av.logging
from av.packet import Packet
from av.video.frame import VideoFrame as Decoded
from av.video.stream import VideoStream

from service.media.descriptors import SHARED
from service.media.source import Source
from service.media.timing import Clock

_DAMAGE = re.compile(
    r"error|conceal|corrupt|invalid|damage|missing|could not find ref|overread|partial|out of range", re.I
)
_PREFIX = re.compile(r"^\[[^]]*\] *")
_LOG_BYTES = 65536


class DamageLog:
    """What FFmpeg's decoders complain about: concealed damage is told nowhere else.

    It is caught from standard error, which becomes a pipe to this very process for good; what does not fit into it is
    dropped. Where Python's standard error is not FFmpeg's, PyAV passes it on.
    """

    def __init__(self) -> None:
        self._said = _from_standard_error() if SHARED else _from_pyav()

    def first(self, speaker: str = "") -> str | None:
        """The first complaint about damage since the last call, if any.

        Args:
            speaker: only what FFmpeg's part of this name complains about.
        """
        lines = (line for line in self._said().splitlines() if line.startswith(f"[{speaker}"))
        return next((_PREFIX.sub("", line).strip() for line in lines if _DAMAGE.search(line)), None)


def _from_standard_error() -> Callable[[], str]:
    """Gives what was said since the last call."""
    read, write = os.pipe()
    set_blocking: Callable[[int, bool], None] = getattr(os, "set_blocking")  # noqa: B009 - not in all of Windows
    set_blocking(read, False)
    set_blocking(write, False)
    os.dup2(write, 2)
    os.close(write)
    av.logging.restore_default_callback()  # PyAV's own takes Python's lock in the decoder's threads
    av.logging.set_libav_level(av.logging.ERROR)

    def said() -> str:
        try:
            return os.read(read, _LOG_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""

    return said


def _from_pyav() -> Callable[[], str]:
    """Gives what was said since the last call. Decoders must have no threads then; `Source` sees to that."""
    av.logging.set_level(av.logging.ERROR)
    capture = av.logging.Capture(local=False)
    messages = capture.__enter__()

    def said() -> str:
        text = "\n".join(f"[{name} @] {message.strip()}" for _, name, message in messages)
        messages.clear()
        return text

    return said


Note = Callable[[str], None]


def packets_of(source: Source, log: DamageLog, note: Note) -> Iterator[Packet[VideoStream]]:
    """The packets of the source's stream that hold something, in the order they are stored.

    `note` is told where the container is damaged; packets end where that is beyond repair.
    """
    log.first()
    try:
        for packet in source.container.demux(source.stream):
            complaint = log.first(source.kind.demuxer)  # parsers complain, too, of what a decoder will soon
            if complaint is not None:
                note(f"the container is damaged before {_place(source.stream, packet)} ({complaint})")
            if packet.size:
                yield packet
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError as error:
        note(f"the container is damaged beyond repair and ends early ({error.strerror})")


def decoded_frames(
    source: Source, packets: Iterator[Packet[VideoStream]], clock: Clock, log: DamageLog, note: Note
) -> Iterator[tuple[int, Decoded]]:
    """The frames of a stream in the order they are shown, each with its time stamp.

    `note` is told of packets that could not be decoded, and of frames that could be only in part.
    """
    for packet in packets:
        clock.fed(packet.dts if packet.dts is not None else packet.pts)
        yield from _decoded(source.stream, packet, clock, log, note)
    yield from _decoded(source.stream, None, clock, log, note)


def _decoded(
    stream: VideoStream, packet: Packet[VideoStream] | None, clock: Clock, log: DamageLog, note: Note
) -> Iterator[tuple[int, Decoded]]:
    try:
        frames = stream.codec_context.decode(packet)
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        log.first()
        clock.lost()
        reason = getattr(error, "strerror", None) or error
        note(f"{_place(stream, packet)} is damaged and left out ({reason})")
        return
    complaint = log.first()
    if complaint is not None:
        note(f"{_place(stream, packet)} is damaged and shown as far as it can be decoded ({complaint})")
    for frame in frames:
        yield clock.stamp(frame.pts), frame


def _place(stream: VideoStream, packet: Packet[VideoStream] | None) -> str:
    ticks = None if packet is None else packet.pts if packet.pts is not None else packet.dts
    if ticks is None or stream.time_base is None:
        return "the last frame"
    return f"the frame at {float(ticks * stream.time_base):.2f} s"
