"""Small videos made by code, good and bad ones, from patterns, discs and packaged photographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.fake_engine import discs, person_at
from tests.photos import Image, astronaut, grace_hopper, nobody

AUDIO_RATE = 48_000
BEEP_SECONDS = 0.1
TICKS = 60_000  # of a second: whole for all usual rates, 29.97 too, and MPEG-4 allows no more than 65535
_AUDIO_BLOCK = 1024
_SPACES = {"bt601": 5, "bt709": 1, "bt2020": 9}  # of H.273; 5 is the 625-line BT.601
_TRANSFERS = {"sdr": 1, "pq": 16, "hlg": 18}

Picture = Callable[[int], Image]
"""The picture of the frame with this index, RGB uint8 ``[height, width, 3]``."""


def pattern(size: tuple[int, int]) -> Picture:
    """Pictures that all differ: a gradient, a square that moves, and the index as a row of black and white bars."""
    width, height = size
    ys, xs = np.mgrid[:height, :width]
    ground = np.stack([xs * 200 // width + 20, ys * 200 // height + 20, np.full_like(xs, 90)], axis=-1).astype(np.uint8)

    def picture(index: int) -> Image:
        image = ground.copy()
        side = max(4, height // 5)
        x, y = (index * 3) % max(1, width - side), (index * 2) % max(1, height - side)
        image[y : y + side, x : x + side] = (230, 60, 40)
        _draw_index(image, index)
        return image

    return picture


_BITS = 12


def _draw_index(image: Image, index: int) -> None:
    height, width = image.shape[:2]
    for bit in range(_BITS):
        color = 235 if index >> bit & 1 else 16
        image[: height // 6, bit * width // _BITS : (bit + 1) * width // _BITS] = color


def index_in(picture: NDArray[np.uint8]) -> int:
    """The index that `pattern` drew: from an RGB picture ``[H, W, 3]`` or a luma plane ``[H, W]``, both upright."""
    height, width = picture.shape[:2]
    levels = [picture[height // 12, (2 * bit + 1) * width // (2 * _BITS)].mean() for bit in range(_BITS)]
    return sum(1 << bit for bit, level in enumerate(levels) if level > 126)


def make_clip(
    path: Path,
    *,
    frames: int = 30,
    size: tuple[int, int] = (160, 120),
    fps: float | Fraction = 30,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    picture: Picture | None = None,
    timestamps: Sequence[float] | None = None,
    gop: int = 12,
    b_frames: int | None = None,
    options: Mapping[str, str] | None = None,
    audio: str | None = None,
    audio_delay: float = 0.0,
    rotation: int = 0,
    mirrored: bool = False,
    matrix: str | None = None,
    full_range: bool = False,
    transfer: str | None = None,
    sample_aspect: Fraction | None = None,
    container: str | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """A video file; returns its path.

    Args:
        path: the suffix decides the container, unless `container` names it.
        size: width and height as stored, before any rotation.
        codec: an FFmpeg encoder: libx264, libx265, libvpx-vp9, mpeg4, mjpeg, ffv1, rawvideo...
        picture: what each frame shows; `pattern` if left out.
        timestamps: seconds of each frame, ascending, for a variable rate.
        gop: frames between key frames.
        b_frames: most B-frames in a row; the encoder's own choice if left out.
        options: of the encoder, e.g. ``{"x264-params": "open-gop=1"}``.
        audio: an FFmpeg encoder (aac, libopus, libmp3lame, pcm_s16le): beeps of 880 Hz for the first
            `BEEP_SECONDS` of each second, silence between them.
        audio_delay: seconds of the audio's first sample.
        rotation: clockwise degrees a player turns it by: 90 is a phone held upright.
        mirrored: a player also flips it left to right, before it turns it.
        matrix: bt601, bt709 or bt2020: RGB is converted by it and the file says so; without, by BT.601, untagged.
        full_range: luma from 0 to 255, tagged so.
        transfer: sdr, pq or hlg; only a tag.
        container_options: of the muxer, e.g. ``{"movflags": "faststart"}``.
    """
    out = av.open(str(path), "w", format=container, container_options=dict(container_options or {}))
    with out:
        stream = _video_stream(out, codec, Fraction(fps).limit_denominator(100_000), timestamps is not None)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        context: Any = stream.codec_context
        context.gop_size = gop
        if b_frames is not None:
            context.max_b_frames = b_frames
        context.options = _quiet(codec, dict(options or {}))
        _tag_color(context, matrix, full_range=full_range, transfer=transfer)
        if sample_aspect is not None:
            context.sample_aspect_ratio = sample_aspect
        if rotation or mirrored:
            stream.set_display_rotation(*_display(rotation, mirrored=mirrored))
        sound = _audio_stream(out, audio) if audio else None
        seconds = timestamps[frames - 1] if timestamps is not None else frames / float(fps)
        beeps = _beeps(sound, seconds, audio_delay) if sound is not None else []
        picture = picture or pattern(size)
        for index in range(frames):
            frame = _video_frame(picture(index), pixel_format, matrix, full_range=full_range)
            frame.pts = index if timestamps is None else round(timestamps[index] * TICKS)
            if timestamps is None and context.time_base.denominator == TICKS:
                frame.pts = round(index * TICKS / Fraction(fps).limit_denominator(100_000))
            frame.time_base = context.time_base
            while sound is not None and beeps and (beeps[0].time or 0.0) <= (frame.time or 0.0):
                out.mux(sound.encode(beeps.pop(0)))
            out.mux(stream.encode(frame))
        for beep in beeps:
            assert sound is not None
            out.mux(sound.encode(beep))
        out.mux(stream.encode(None))
        if sound is not None:
            out.mux(sound.encode(None))
    return path


def _video_stream(out: OutputContainer, codec: str, rate: Fraction, variable: bool) -> VideoStream:
    stream: Any = out.add_stream(codec, rate=rate)
    fine = variable or "avi" not in out.format.name  # AVI knows whole frames only
    base = Fraction(1, TICKS) if fine else 1 / rate
    stream.time_base = stream.codec_context.time_base = base
    stream.codec_context.thread_count = 1  # the same file every time
    return stream


def _quiet(codec: str, options: dict[str, str]) -> dict[str, str]:
    if codec == "libx264":
        return {"preset": "veryfast", **options}
    if codec == "libx265":
        return {"preset": "ultrafast", **options, "x265-params": f"log-level=none:{options.get('x265-params', '')}"}
    if codec.startswith("libvpx"):
        return {"deadline": "realtime", "cpu-used": "8", **options}
    return options


def _tag_color(context: Any, matrix: str | None, *, full_range: bool, transfer: str | None) -> None:
    if matrix is not None:
        context.colorspace = _SPACES[matrix]
        context.color_primaries = _SPACES[matrix]
    if full_range:
        context.color_range = 2
    if transfer is not None:
        context.color_trc = _TRANSFERS[transfer]


def _display(rotation: int, *, mirrored: bool) -> tuple[int, bool]:
    return (rotation if mirrored else -rotation), mirrored


def _video_frame(image: Image, pixel_format: str, matrix: str | None, *, full_range: bool) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(
        format=pixel_format,
        src_color_range=2,
        dst_colorspace=_SPACES[matrix or "bt601"],
        dst_color_range=2 if full_range else 1,
    )


def _audio_stream(out: OutputContainer, codec: str) -> AudioStream:
    stream: Any = out.add_stream(codec, rate=AUDIO_RATE)
    stream.layout = "mono"
    return stream


def _beeps(stream: AudioStream, seconds: float, delay: float) -> list[AudioFrame]:
    times = np.arange(math.ceil(seconds * AUDIO_RATE / _AUDIO_BLOCK) * _AUDIO_BLOCK) / AUDIO_RATE
    samples = 0.6 * np.sin(2 * np.pi * 880 * times) * ((times + delay) % 1 < BEEP_SECONDS)
    frames: list[AudioFrame] = []
    for start in range(0, len(times), _AUDIO_BLOCK):
        block = np.round(samples[None, start : start + _AUDIO_BLOCK] * 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = AUDIO_RATE
        frame.pts = start + round(delay * AUDIO_RATE)
        frame.time_base = Fraction(1, AUDIO_RATE)
        frames.append(frame)
    return frames


def people_clip(
    path: Path, seconds: float = 2.0, size: tuple[int, int] = (640, 360), fps: float = 30, **more: Any
) -> Path:
    """Photographs of two people drift over one of a table; the real engine finds both. `more`: of `make_clip`."""
    picture = people_picture(size, fps)
    return make_clip(path, frames=round(seconds * fps), size=size, fps=fps, picture=picture, **more)


def people_picture(size: tuple[int, int], fps: float) -> Picture:
    """The pictures of `people_clip`."""
    width, height = size
    ground = cv2.resize(nobody(), size, interpolation=cv2.INTER_AREA)
    side = min(round(height * 0.8), round(width / 2 / 0.9))
    portraits = [
        cv2.resize(one, (round(side * 0.9), side), interpolation=cv2.INTER_AREA)
        for one in (astronaut(), grace_hopper())
    ]

    def picture(index: int) -> Image:
        image = ground.copy()
        angle = 2 * math.pi * index / fps / 8
        room = max(0.0, width / 2 - portraits[0].shape[1])
        for number, portrait in enumerate(portraits):
            x = round(number * width / 2 + room / 2 * (1 + math.sin(angle + number)))
            y = round((height - side) / 2 * (1 + math.cos(angle * 2 + number)))
            view = image[y : y + side, x : x + portrait.shape[1]]
            view[:] = portrait[: view.shape[0], : view.shape[1]]
        return np.asarray(image, np.uint8)

    return picture


def disc_neck(index: int, size: tuple[int, int] = (160, 120)) -> tuple[float, float]:
    """Where the neck of the person in `discs_clip` is in this frame, in pixels."""
    width, height = size
    return width * (0.5 + 0.15 * math.sin(index / 12)), height * (0.6 + 0.1 * math.cos(index / 9))


def discs_clip(
    path: Path, *, frames: int = 30, size: tuple[int, int] = (160, 120), fps: float = 30, **more: Any
) -> Path:
    """One person made of discs, which `tests.fake_engine.DiscEngine` finds; `more`: of `make_clip`."""
    radius = max(4, min(size) // 12)

    def picture(index: int) -> Image:
        return discs(*size, person_at(*disc_neck(index, size), size=min(size) / 3), radius)

    return make_clip(path, frames=frames, size=size, fps=fps, picture=picture, **more)


def audio_only(path: Path, seconds: float = 1.0, codec: str = "aac") -> Path:
    """A file with beeps and no pictures."""
    with av.open(str(path), "w") as out:
        stream = _audio_stream(out, codec)
        for frame in _beeps(stream, seconds, 0.0):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """Offset and size in the file of each packet of the first video stream, in the order they are stored."""
    with av.open(str(path)) as source:
        head = 4 if "matroska" in source.format.name else 0  # of a block: track, time, flags
        found = [(packet.pos, packet.size) for packet in source.demux(video=0) if packet.size]
    return [(int(position or 0) + head, size) for position, size in found]


def damage_packet(path: Path, number: int, share: float = 1.0, keep: int = 0) -> Path:
    """Overwrite the packet's data with noise, in the file itself.

    Args:
        share: how much of it, from its end.
        keep: bytes at its beginning that stay as they are.
    """
    position, size = packets(path)[number]
    data = bytearray(path.read_bytes())
    start = position + max(keep, round(size * (1 - share)))
    noise = np.random.default_rng(number).integers(0, 256, position + size - start, np.uint8)
    data[start : position + size] = noise.tobytes()
    path.write_bytes(data)
    return path


def cut_off(path: Path, share: float = 0.5) -> Path:
    """Keep only the first part of the file, as an upload that broke off does."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def patch_box(path: Path, kind: bytes, offset: int, value: bytes, *, nth: int = 0) -> Path:
    """Write `value` into an MP4 box, `offset` bytes behind its four-character name: how headers are made to lie."""
    data = bytearray(path.read_bytes())
    position = -1
    for _ in range(nth + 1):
        position = data.index(kind, position + 1)
    start = position + 4 + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def shifting_timestamps(frames: int, seed: int = 0) -> list[float]:
    """Time stamps of a phone's variable rate: 20 to 60 ms apart, with a pause of half a second in the middle."""
    gaps = np.random.default_rng(seed).integers(20, 61, frames) / 1000
    gaps[frames // 2] = 0.5
    return [round(float(time), 3) for time in np.cumsum(gaps) - gaps[0]]


def alternating(*paths: Path, out: Path) -> Path:
    """The packets of several files of one codec one after the other in one Matroska stream: the size may change."""
    with av.open(str(out), "w", format="matroska") as target:
        with av.open(str(paths[0])) as first:
            stream = target.add_stream_from_template(first.streams.video[0])
        clock = count()
        for path in paths:
            with av.open(str(path)) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = next(clock) * 40
                        packet.time_base = Fraction(1, 1000)
                        packet.stream = stream
                        target.mux(packet)
    return out
