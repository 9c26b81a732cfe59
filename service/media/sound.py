"""The sound of an upload for the annotated video, in the child process that joins them: copied, or converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from service.media.codecs import AudioCodec
from service.media.held_file import HeldFile
from service.media.source import DECODERS

# Decoders by FFmpeg's names.
_NAMES = (
    "aac mp3 mp3float mp2 mp2float ac3 eac3 opus libopus vorbis flac alac amrnb amrwb wmav1 wmav2 adpcm_ms "
    "adpcm_ima_wav pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_f32le pcm_u8 pcm_alaw pcm_mulaw"
)
AUDIO_DECODERS = frozenset(_NAMES.split())
_COMMON_RATE = 48_000
_TOLERANCE = Fraction(1, 50)  # seconds that time stamps may wander, as those in milliseconds do, before it is a gap
_LONGEST_SILENCE = 1.0  # seconds in one piece


class Sound(AbstractContextManager["Sound"]):
    """The first audio stream of a file, on a timeline that begins with the first picture.

    From then on the process can have no more files open at a time than when this is made.

    Args:
        path: of the upload.
        first_pts: time stamp of the first picture in the time base of the video stream; None: where that begins.
        codec: what the container of the result takes.
        end: seconds after which sound is left out; asked again and again.
        copy: packets are passed on as they are; else decoded and encoded.

    Attributes:
        found: there is an audio stream with a known codec.
        notes: what was left out so far, for people.

    Raises:
        VideoError: the file is no video.
        av.error.FFmpegError: it cannot be opened.
    """

    def __init__(
        self, path: Path, first_pts: int | None, codec: AudioCodec, end: Callable[[], float], *, copy: bool
    ) -> None:
        self._file = HeldFile(path)
        self._container = self._file.demux([*DECODERS, *AUDIO_DECODERS])
        stream = next(iter(self._container.streams.audio), None)
        self.found = stream is not None and bool(stream.codec_context)
        self._stream: Any = stream
        self._codec = codec
        self._end = end
        self._start = _start(self._container, first_pts)
        self.copies = copy and self.found and self._stream.codec_context.codec.canonical_name in codec.copied
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    def packets(self, output: OutputContainer) -> Iterator[tuple[float, Any]]:
        """Add a stream to a container without header yet; its packets then, each with its time in seconds."""
        if self.copies:
            return self._copied(output.add_stream_from_template(self._stream))
        context = self._stream.codec_context
        rate = 44_100 if context.sample_rate == 44_100 and self._codec.encoder != "libopus" else _COMMON_RATE
        stream: Any = output.add_stream(self._codec.encoder, rate=rate)
        mono = context.layout.nb_channels == 1
        stream.layout = "mono" if mono else "stereo"
        stream.bit_rate = self._codec.bit_rate // (2 if mono else 1)
        return self._converted(stream)

    def _copied(self, target: Any) -> Iterator[tuple[float, Any]]:
        after, last = Fraction(0), None
        for packet in self._demuxed():
            step = packet.time_base
            at = after if packet.pts is None else packet.pts * step - self._start
            lasts = (packet.duration or 0) * step
            after = at + lasts
            if self._too_early(at, lasts, step):
                continue
            if self._over(float(at)):
                return
            place = round(at / target.time_base)
            if last is not None and place <= last:
                continue
            last = place
            _place(packet, target, place, round(lasts / target.time_base))
            yield float(at), packet

    def _too_early(self, at: Fraction, lasts: Fraction, step: Fraction) -> bool:
        """Whether a packet is left out because of what its container can say about times before 0."""
        if self._codec.before_zero:  # a player can skip it, and a decoder needs a run-up: this packet and one before
            return at + 2 * lasts <= 0
        head = self._stream.codec_context.extradata or b""
        run_up = int.from_bytes(head[10:12], "little") if head.startswith(b"OpusHead") else 0
        return at + Fraction(run_up, _COMMON_RATE) <= -step

    def _demuxed(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError as error:
            self._note(f"the sound ends where the file is broken ({error.strerror})")

    def _converted(self, target: Any) -> Iterator[tuple[float, Any]]:
        context = target.codec_context
        rate, layout, position = context.sample_rate, context.layout.name, 0
        for samples in self._line(rate, layout):
            frame: Any = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            position += samples.shape[1]
            yield from self._encoded(target, frame)
        if position:
            yield from self._encoded(target, None)

    def _encoded(self, target: Any, frame: Any) -> Iterator[tuple[float, Any]]:
        for packet in target.encode(frame):
            if packet.pts < 0 and not self._codec.before_zero and self._codec.encoder != "libopus":
                continue  # the encoder's run-up, which this container would play
            yield float(packet.pts * packet.time_base), packet

    def _line(self, rate: int, layout: str) -> Iterator[NDArray[np.float32]]:
        """Samples ``[channels, n]`` from time 0 without gaps: silence where there is no sound."""
        position = 0
        for frame in self._resampled(rate, layout):
            at = round((frame.pts * frame.time_base - self._start) * rate)
            samples: NDArray[np.float32] = frame.to_ndarray()
            if self._over(at / rate):
                return
            if abs(at - position) <= _TOLERANCE * rate and position:
                at = position
            while position < at:
                silence = min(at - position, int(_LONGEST_SILENCE * rate))
                yield np.zeros((len(samples), silence), np.float32)
                position += silence
            samples = samples[:, position - at :]
            if samples.shape[1]:
                yield samples
                position += samples.shape[1]

    def _resampled(self, rate: int, layout: str) -> Iterator[Any]:
        resampler, setup = None, None
        for frame in self._decoded():
            present = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or present != setup:
                resampler, setup = av.AudioResampler("fltp", layout, rate), present
            yield from resampler.resample(frame)
        if resampler is not None:
            yield from resampler.resample(None)

    def _decoded(self) -> Iterator[Any]:
        after = Fraction(0)
        for packet in self._demuxed():
            try:
                frames = packet.decode()
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self._note("parts of the sound are broken and were left out")
                continue
            for frame in frames:
                if frame.pts is None:
                    frame.time_base = Fraction(1, frame.sample_rate)
                    frame.pts = round(after * frame.sample_rate)
                after = frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate)
                yield frame

    def _over(self, seconds: float) -> bool:
        if seconds <= self._end():
            return False
        self._note("the sound goes on for longer than the pictures and was cut")
        return True

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _start(container: InputContainer, first_pts: int | None) -> Fraction:
    """Seconds on the file's own timeline at which the first picture is shown."""
    pictures = (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)
    stream = next(pictures, None)
    if stream is None or stream.time_base is None:
        return Fraction(0)
    return (stream.start_time or 0 if first_pts is None else first_pts) * stream.time_base


def _place(packet: Any, stream: Any, at: int, lasts: int) -> None:
    """Make a packet one of another stream, at this time in its time base."""
    packet.stream = stream
    packet.time_base = stream.time_base
    packet.pts = packet.dts = at
    packet.duration = lasts
