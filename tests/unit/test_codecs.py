from __future__ import annotations

import av.codec.codec
import pytest

from service.media.codecs import CODECS, FOURCCS, CodecError, find_codec, require_encoder


@pytest.mark.parametrize(
    ("asked", "name", "suffix"),
    [
        ("h264", "h264", ".mp4"),
        ("H264", "h264", ".mp4"),
        ("avc1", "h264", ".mp4"),
        ("X264", "h264", ".mp4"),
        ("vp9", "vp9", ".webm"),
        ("vp09", "vp9", ".webm"),
        ("mpeg4", "mpeg4", ".mp4"),
        ("MP4V", "mpeg4", ".mp4"),
        (" mp4v ", "mpeg4", ".mp4"),
        ("XVID", "mpeg4", ".avi"),
        ("divx", "mpeg4", ".avi"),
        ("mjpeg", "mjpeg", ".avi"),
        ("MJPG", "mjpeg", ".avi"),
    ],
)
def test_names_and_four_character_codes_in_any_case(asked: str, name: str, suffix: str) -> None:
    codec = find_codec(asked)
    assert (codec.name, codec.suffix) == (name, suffix)


def test_a_code_that_avi_players_look_for_is_kept() -> None:
    assert find_codec("xvid").fourcc == "XVID"
    assert find_codec("DIVX").fourcc == "DIVX"


@pytest.mark.parametrize("name", [*CODECS, *FOURCCS])
def test_a_codec_is_found_again_by_its_own_code(name: str) -> None:
    codec = find_codec(name)
    assert find_codec(codec.fourcc) == codec
    assert len(codec.fourcc) == 4
    require_encoder(codec)


@pytest.mark.parametrize("asked", ["", "HEVC", "theora", "x" * 1000])
def test_an_unknown_codec_is_answered_with_those_there_are(asked: str) -> None:
    with pytest.raises(CodecError, match=r"h264, vp9, mpeg4, mjpeg.*AVC1.*XVID") as refused:
        find_codec(asked)
    assert len(str(refused.value)) < 400


def test_only_avi_needs_a_constant_rate() -> None:
    assert {codec.suffix: codec.constant_rate for codec in FOURCCS.values()} == {
        ".mp4": False,
        ".webm": False,
        ".avi": True,
    }


def test_a_build_without_an_encoder_is_answered_with_the_codecs_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = av.codec.codec.Codec

    def without_x264(name: str, mode: str) -> av.codec.codec.Codec:
        if name == "libx264":
            raise av.codec.codec.UnknownCodecError(name)
        return real(name, mode)

    monkeypatch.setattr(av.codec.codec, "Codec", without_x264)
    with pytest.raises(CodecError, match=r"without libx264.*choose vp9, mpeg4, mjpeg"):
        require_encoder(find_codec("h264"))
    require_encoder(find_codec("vp9"))
