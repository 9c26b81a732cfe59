"""The codecs an annotated video can have, by their names and by the four characters other tools know them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from shared.errors import YaopError

CodecName = Literal["h264", "vp9", "mpeg4", "mjpeg"]
ContainerName = Literal["mp4", "webm", "avi"]


class CodecError(YaopError):
    """A codec that is not known, or that the installed PyAV cannot write."""


@dataclass(frozen=True)
class AudioCodec:
    """What becomes of the source's sound in a container.

    Attributes:
        copied: codecs (FFmpeg's names) that go into the container as they are.
        encoder: FFmpeg's name of the encoder for all others.
        bit_rate: bits a second of that encoder, for two channels.
        before_zero: the container can name samples before time 0 that a player skips; else copied packets that
            begin before the first picture are left out.
    """

    copied: frozenset[str]
    encoder: str
    bit_rate: int
    before_zero: bool


@dataclass(frozen=True)
class VideoCodec:
    """How pictures are encoded, and the file they go into.

    Attributes:
        name: what the API calls it.
        fourcc: its four-character code in the file; `find_codec` of it gives this codec again.
        encoder: FFmpeg's name of the encoder.
        options: what that encoder is told.
        container: FFmpeg's name of the file format.
        suffix: of the file's name, with the dot.
        media_type: of the file.
        audio: what becomes of the sound.
        ticks: parts of a second in which time stamps are written.
        constant_rate: the container has no time stamps: all pictures last equally long, so a source whose rate varies
            must be read with ``fps``.
        square_pixels: neither the codec nor the container, as PyAV writes it, can say that pixels are not square.
        full_range: pixels are written as JPEG has them (BT.601 in 0..255), whatever the source's are.
        max_side: longest side in pixels.
    """

    name: CodecName
    fourcc: str
    encoder: str
    container: ContainerName
    suffix: str
    media_type: str
    audio: AudioCodec
    options: Mapping[str, str] = field(hash=False)
    ticks: int = (
        120_000  # whole numbers of them make 1/24, 1/25 and 1/30 of a second, and each of these times 1001/1000
    )
    constant_rate: bool = False
    square_pixels: bool = False
    full_range: bool = False
    max_side: int = 16_384


_MP4_AUDIO = AudioCodec(frozenset({"aac", "mp3"}), "aac", 128_000, before_zero=True)
_WEBM_AUDIO = AudioCodec(frozenset({"opus", "vorbis"}), "libopus", 96_000, before_zero=False)
_AVI_AUDIO = AudioCodec(frozenset(), "libmp3lame", 128_000, before_zero=False)  # no time stamps: gaps must be filled

# Times and qualities of these settings on 720p: `python -m benchmarks.video_encoding`. Encoding takes time from the
# network, so it is the fastest preset, with the filter that hides its blocks.
_X264_PARAMS = "no-deblock=0"

_H264 = VideoCodec(
    name="h264",
    fourcc="avc1",
    encoder="libx264",
    container="mp4",
    suffix=".mp4",
    media_type="video/mp4",
    audio=_MP4_AUDIO,
    options=MappingProxyType({"preset": "ultrafast", "crf": "22", "bf": "0", "x264-params": _X264_PARAMS}),
)
_VP9 = VideoCodec(
    name="vp9",
    fourcc="VP90",
    encoder="libvpx-vp9",
    container="webm",
    suffix=".webm",
    media_type="video/webm",
    audio=_WEBM_AUDIO,
    options=MappingProxyType(
        # No look-ahead and no hidden reference pictures: one packet a picture, in order.
        {"deadline": "realtime", "cpu-used": "8", "crf": "33", "b": "0", "lag-in-frames": "0", "auto-alt-ref": "0"}
        | {"row-mt": "1", "tile-columns": "2"}
    ),
    square_pixels=True,
)
_MPEG4 = VideoCodec(
    name="mpeg4",
    fourcc="mp4v",
    encoder="mpeg4",
    container="mp4",
    suffix=".mp4",
    media_type="video/mp4",
    audio=_MP4_AUDIO,
    options=MappingProxyType({"qmin": "3", "qmax": "3", "bf": "0"}),
    ticks=60_000,  # MPEG-4 Part 2 allows 65,535 at most
    max_side=8_190,
)
_MJPEG = VideoCodec(
    name="mjpeg",
    fourcc="MJPG",
    encoder="mjpeg",
    container="avi",
    suffix=".avi",
    media_type="video/x-msvideo",
    audio=_AVI_AUDIO,
    options=MappingProxyType({"qmin": "3", "qmax": "3"}),
    constant_rate=True,
    square_pixels=True,
    full_range=True,
)


def _in_avi(fourcc: str) -> VideoCodec:
    return replace(
        _MPEG4,
        fourcc=fourcc,
        container="avi",
        suffix=".avi",
        media_type="video/x-msvideo",
        audio=_AVI_AUDIO,
        constant_rate=True,
    )


CODECS: Mapping[str, VideoCodec] = MappingProxyType({codec.name: codec for codec in (_H264, _VP9, _MPEG4, _MJPEG)})
"""The codecs by name; the first is the default."""

FOURCCS: Mapping[str, VideoCodec] = MappingProxyType(
    {"AVC1": _H264, "H264": _H264, "X264": _H264}
    | {"VP90": _VP9, "VP09": _VP9}
    | {"MP4V": _MPEG4, "MPG4": _MPEG4}
    | {name: _in_avi(name) for name in ("XVID", "DIVX", "DX50", "FMP4")}
    | {"MJPG": _MJPEG, "JPEG": _MJPEG}
)
"""The codecs by four-character code, in capitals. Those that AVI players look for make an AVI file with that code."""


def find_codec(name: str) -> VideoCodec:
    """The codec of a name ("h264") or of a four-character code ("XVID"), in any case.

    Raises:
        CodecError: there is none; the message lists what there is.
    """
    asked = name.strip()
    codec = CODECS.get(asked.lower()) or FOURCCS.get(asked.upper())
    if codec is None:
        names, codes = ", ".join(CODECS), ", ".join(FOURCCS)
        raise CodecError(f"codec {name[:40]!r} is not known; choose {names}, or a four-character code: {codes}")
    return codec


def require_encoder(codec: VideoCodec) -> None:
    """Raise CodecError unless the installed PyAV can write this codec (builds without libx264 exist)."""
    if _has_encoder(codec):
        return
    others = ", ".join(other.name for other in CODECS.values() if _has_encoder(other))
    raise CodecError(f"this PyAV comes without {codec.encoder}, which writes {codec.name}; choose {others}")


def _has_encoder(codec: VideoCodec) -> bool:
    import av.codec.codec

    try:
        av.codec.codec.Codec(codec.encoder, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True
