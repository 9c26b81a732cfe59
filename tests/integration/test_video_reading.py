"""Good videos of many kinds: every frame comes, upright, in order, in the right colours, at its time."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.media.frame import VideoFrame
from service.media.probe import VideoInfo, probe_video
from service.media.reader import Position, VideoReader
from tests.clips import (
    TICKS,
    alternating,
    audio_only,
    index_in,
    make_clip,
    packets,
    pattern,
    people_clip,
    shifting_timestamps,
)

SIZE = (160, 120)


def read(path: Path, **options: Any) -> list[VideoFrame]:
    with VideoReader(path, probe_video(path), **options) as reader:
        frames = list(reader)
    assert reader.skipped == []
    return frames


def indexes(frames: list[VideoFrame]) -> list[int]:
    return [index_in(frame.rgb()) for frame in frames]


def assert_same(frames: list[VideoFrame], expected: list[VideoFrame]) -> None:
    assert [(f.index, f.pts, f.timestamp) for f in frames] == [(f.index, f.pts, f.timestamp) for f in expected]
    assert all(np.array_equal(f.planes, e.planes) for f, e in zip(frames, expected, strict=True))


def neat(codec: str) -> dict[str, Any]:
    return {"codec": codec, "pixel_format": "yuvj420p" if codec == "mjpeg" else "yuv420p"}


KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"b_frames": 3},
    "fragmented.mp4": {"b_frames": 2, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "open_gop.mkv": {"b_frames": 3, "options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0"}},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=12"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "open-gop=1:keyint=12:bframes=3"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 0},
    "mpeg4_b.avi": {"codec": "mpeg4", "b_frames": 2},
    "h264_b.avi": {"b_frames": 2},
    "mjpeg.avi": neat("mjpeg"),
    "variable.mov": {"b_frames": 2, "timestamps": shifting_timestamps(40)},
    "variable.mkv": {"timestamps": shifting_timestamps(40, seed=1)},
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, VideoInfo, list[VideoFrame]]]:
    """Clips of 40 frames, what the probe says of each, and all its frames."""
    folder = tmp_path_factory.mktemp("kinds")
    clips = {}
    for name, options in KINDS.items():
        path = make_clip(folder / name, frames=40, size=SIZE, **options)
        info = probe_video(path)
        with VideoReader(path, info) as reader:
            clips[name] = path, info, list(reader)
        assert reader.skipped == []
    return clips


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_comes_once_and_in_order(name: str, kinds: dict[str, Any]) -> None:
    _, info, frames = kinds[name]

    assert indexes(frames) == list(range(40))
    assert [frame.index for frame in frames] == list(range(40))
    assert info.frames == 40 and (info.width, info.height) == SIZE
    assert frames[0].timestamp == 0.0


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith("variable")])
def test_constant_rates_are_recognised(name: str, kinds: dict[str, Any]) -> None:
    _, info, frames = kinds[name]

    assert not info.variable
    assert info.fps == pytest.approx(30, rel=0.003) and info.seconds == pytest.approx(40 / 30, abs=0.002)
    assert [frame.timestamp for frame in frames] == pytest.approx([i / 30 for i in range(40)], abs=0.001)


def test_variable_rates_keep_every_frames_time(kinds: dict[str, Any]) -> None:
    for name, seed in (("variable.mov", 0), ("variable.mkv", 1)):
        _, info, frames = kinds[name]
        assert info.variable
        assert [frame.timestamp for frame in frames] == pytest.approx(shifting_timestamps(40, seed), abs=0.0006)


@pytest.mark.parametrize("name", KINDS)
def test_a_reading_that_begins_in_the_middle_is_no_different(name: str, kinds: dict[str, Any]) -> None:
    path, info, frames = kinds[name]

    for middle in (13, 30):
        with VideoReader(path, info, start=Position(middle, frames[middle].pts)) as reader:
            rest = list(reader)
        assert_same(rest, frames[middle:])
        assert reader.skipped == []


@given(middle=st.integers(0, 39), fps=st.sampled_from([None, 12.5, 30.0, 60.0]), name=st.sampled_from(sorted(KINDS)))
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_it_may_begin_anywhere_at_any_rate(name: str, middle: int, fps: float | None, kinds: dict[str, Any]) -> None:
    path, info, _ = kinds[name]
    with VideoReader(path, info, fps=fps) as reader:
        frames = list(reader)
    middle = middle * len(frames) // 40

    with VideoReader(path, info, start=Position(frames[middle].index, frames[middle].pts), fps=fps) as reader:
        rest = list(reader)

    assert_same(rest, frames[middle:])


def test_seeking_is_used_where_it_is_safe_only(kinds: dict[str, Any]) -> None:
    seekable = {name for name, (_, info, _) in kinds.items() if info.seekable}

    assert seekable == set(KINDS) - {"mpeg4_b.avi", "h264_b.avi"}


def test_a_constant_rate_can_be_asked_for(kinds: dict[str, Any]) -> None:
    path, info, _ = kinds["h264.mp4"]

    with VideoReader(path, info, fps=15) as reader:
        halved = list(reader)
    with VideoReader(path, info, fps=60) as reader:
        doubled = list(reader)

    assert indexes(halved)[:5] == [0, 2, 4, 6, 8] and len(halved) == 20
    assert [frame.timestamp for frame in halved] == [i / 15 for i in range(20)]
    assert len(doubled) == 80 and sorted(indexes(doubled)) == sorted([*range(40)] * 2)
    assert doubled[1].pts in (doubled[0].pts, doubled[2].pts)


def test_a_pause_is_filled_at_a_constant_rate(kinds: dict[str, Any]) -> None:
    path, info, frames = kinds["variable.mov"]

    with VideoReader(path, info, fps=25) as reader:
        even = list(reader)

    assert len(even) == pytest.approx(info.seconds * 25, abs=1)
    times = np.array([frame.timestamp for frame in frames])
    for frame in even:
        due = int(np.flatnonzero(times < frame.timestamp + 0.5 / 25 + 1e-6)[-1])
        assert index_in(frame.rgb()) == due


def test_repeated_frames_do_not_share_their_pixels(kinds: dict[str, Any]) -> None:
    path, info, _ = kinds["h264.mp4"]

    with VideoReader(path, info, fps=120) as reader:
        frames = list(reader)

    for before, after in pairwise(frames):
        assert not np.shares_memory(before.planes, after.planes)


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_phone_clips_come_upright(rotation: int, suffix: str, tmp_path: Path) -> None:
    upright = SIZE if rotation == 180 else SIZE[::-1]
    back = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}[rotation]
    shown = pattern(upright)
    path = make_clip(
        tmp_path / f"phone{suffix}",
        frames=5,
        size=SIZE,
        rotation=rotation,
        picture=lambda index: cv2.rotate(shown(index), back),
        sample_aspect=Fraction(4, 3),
    )

    info, frames = probe_video(path), read(path)

    assert info.rotation == rotation and (info.width, info.height) == upright
    assert info.sample_aspect == ((4, 3) if rotation == 180 else (3, 4))
    assert indexes(frames) == list(range(5)) and (frames[0].width, frames[0].height) == upright
    assert np.abs(frames[3].rgb().astype(int) - shown(3)).mean() < 12


def test_mirrored_clips_are_flipped_before_they_are_turned(tmp_path: Path) -> None:
    shown = pattern(SIZE[::-1])

    def stored(index: int) -> Any:
        return np.ascontiguousarray(cv2.rotate(shown(index), cv2.ROTATE_90_COUNTERCLOCKWISE)[:, ::-1])

    path = make_clip(tmp_path / "selfie.mp4", frames=4, size=SIZE, rotation=90, mirrored=True, picture=stored)

    frames = read(path)

    assert probe_video(path).mirrored and indexes(frames) == list(range(4))
    assert np.abs(frames[3].rgb().astype(int) - shown(3)).mean() < 12


@pytest.mark.parametrize(("size", "rotation"), [((161, 121), 0), ((161, 120), 90), ((160, 121), 180)])
def test_odd_sizes_are_made_even_by_repeating_the_last_row_and_column(
    size: tuple[int, int], rotation: int, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "odd.mkv", frames=3, size=size, rotation=rotation, codec="ffv1", pixel_format="yuv444p")
    width, height = size[::-1] if rotation == 90 else size

    frames = read(path)

    assert (frames[0].width, frames[0].height) == (width, height)
    luma, blue, _ = frames[0].split()
    assert luma.shape == (height + height % 2, width + width % 2) and blue.shape == (
        luma.shape[0] // 2,
        luma.shape[1] // 2,
    )
    assert np.array_equal(luma[-1, :width], luma[height - 1, :width])
    assert np.array_equal(luma[:height, -1], luma[:height, width - 1])


COLORS: dict[str, tuple[dict[str, Any], str]] = {
    "untagged and small": ({}, "bt601"),
    "tagged 601": ({"matrix": "bt601"}, "bt601"),
    "tagged 709": ({"matrix": "bt709"}, "bt709"),
    "2020, ten bits": ({"matrix": "bt2020", "pixel_format": "yuv420p10le", "codec": "libx265"}, "bt709"),
    "full range": ({"matrix": "bt709", "full_range": True}, "bt709"),
    "motion JPEG": (neat("mjpeg") | {"full_range": True}, "bt601"),
    "4:4:4": ({"matrix": "bt709", "pixel_format": "yuv444p"}, "bt709"),
    "4:2:2, ten bits": ({"matrix": "bt601", "pixel_format": "yuv422p10le", "codec": "ffv1"}, "bt601"),
    "RGB": ({"codec": "ffv1", "pixel_format": "bgr0"}, "bt709"),
}


@pytest.mark.parametrize("name", COLORS)
def test_colours_come_out_as_they_went_in(name: str, tmp_path: Path) -> None:
    options, matrix = COLORS[name]
    picture = np.zeros((120, 160, 3), np.uint8)
    colors = [(200, 40, 40), (40, 190, 60), (50, 60, 210), (128, 128, 128), (235, 235, 235), (20, 20, 20)]
    for number, color in enumerate(colors):
        picture[:, number * 160 // 6 : (number + 1) * 160 // 6] = color
    path = make_clip(tmp_path / "colors.mkv", frames=2, size=SIZE, picture=lambda _: picture, **options)

    frame = read(path)[0]

    assert frame.matrix == matrix
    for number, color in enumerate(colors):
        seen = frame.rgb()[60, (2 * number + 1) * 160 // 12].astype(int)
        assert np.abs(seen - color).max() <= 8, (color, seen)


def test_untagged_high_definition_is_taken_for_bt709(tmp_path: Path) -> None:
    assert read(make_clip(tmp_path / "hd.mp4", frames=1, size=(1280, 720)))[0].matrix == "bt709"


def test_ten_bit_hdr_is_converted_and_told(tmp_path: Path) -> None:
    options: dict[str, Any] = {"codec": "libx265", "pixel_format": "yuv420p10le", "matrix": "bt2020", "transfer": "pq"}
    path = make_clip(tmp_path / "hdr.mp4", frames=4, **options)

    info = probe_video(path)

    assert (info.codec, info.pixel_format) == ("hevc", "yuv420p10le")
    assert len(info.warnings) == 1 and "HDR" in info.warnings[0]
    assert indexes(read(path)) == list(range(4))


def test_av1_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVT_LOG", "-2")
    path = make_clip(tmp_path / "av1.mp4", frames=6, codec="libsvtav1", options={"preset": "12"})

    assert probe_video(path).codec == "av1"
    assert indexes(read(path)) == list(range(6))


def test_sound_is_told_and_does_not_disturb(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "sound.mp4", audio="aac")

    assert probe_video(path).audio == "aac" and len(read(path)) == 30
    assert probe_video(make_clip(tmp_path / "silent.mp4")).audio is None


def test_pictures_that_are_not_shown_are_not_counted(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "hidden.webm", frames=10, codec="libvpx")
    data = bytearray(path.read_bytes())
    data[packets(path)[4][0]] &= ~0x10  # show_frame of RFC 6386: VP8 encoders send pictures to refer to
    path.write_bytes(data)

    assert probe_video(path).frames == len(read(path)) == 9


def test_the_first_frames_time_is_nought_wherever_the_file_begins(tmp_path: Path) -> None:
    times = [5 + index / 25 for index in range(10)]
    path = make_clip(tmp_path / "late.mkv", frames=10, timestamps=times, audio="libopus")

    info, frames = probe_video(path), read(path)

    assert info.start_seconds == pytest.approx(5, abs=0.01) and info.seconds == pytest.approx(0.4, abs=0.01)
    assert [frame.timestamp for frame in frames] == pytest.approx([index / 25 for index in range(10)], abs=0.001)


def test_a_size_that_changes_is_scaled_to_the_first(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{width}.mkv", frames=5, size=(width, 120), **neat("mjpeg")) for width in (160, 200)]
    path = alternating(*clips, out=tmp_path / "both.mkv")

    with VideoReader(path, probe_video(path)) as reader:
        frames = list(reader)

    assert len(frames) == 10 and {frame.planes.shape for frame in frames} == {(180, 160)}
    assert indexes(frames) == [*range(5), *range(5)]
    assert len(reader.skipped) == 1 and "200 x 120" in reader.skipped[0]


def test_the_child_ends_with_the_reader(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=60, size=(640, 360))
    info = probe_video(path)
    me = psutil.Process()

    reader = VideoReader(path, info)
    next(reader)
    children = me.children()
    assert children
    reader.close()
    assert list(reader) == [] and not any(child.is_running() for child in children)

    abandoned = VideoReader(path, info)
    next(abandoned)
    children = me.children()
    gc.disable()  # no cycle may keep it alive
    try:
        del abandoned
    finally:
        gc.enable()
    assert children and not any(child.is_running() for child in children)


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=60, size=(640, 360))
    script = f"""
        from pathlib import Path
        from service.media.probe import probe_video
        from service.media.reader import VideoReader
        import psutil, time
        reader = VideoReader(Path({str(path)!r}), probe_video(Path({str(path)!r})))
        next(reader)
        print(psutil.Process().children()[0].pid, flush=True)
        time.sleep(60)
    """
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=root)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_the_probe_says_can_be_stored(kinds: dict[str, Any]) -> None:
    _, info, _ = kinds["variable.mov"]

    assert VideoInfo.model_validate_json(info.model_dump_json()) == info


def test_the_app_does_not_load_pyav() -> None:
    script = "import sys, service.app; print('av' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)

    assert done.stdout.strip() == "False"


def test_clips_for_tests_are_what_they_say(tmp_path: Path) -> None:
    info = probe_video(people_clip(tmp_path / "people.mp4", 0.4, (320, 180), audio="aac"))

    assert (info.frames, info.width, info.height, info.audio) == (12, 320, 180, "aac")
    assert info.time_base[1] == TICKS
    assert audio_only(tmp_path / "sound.m4a").stat().st_size > 1000
