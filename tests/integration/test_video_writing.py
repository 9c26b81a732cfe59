"""Segments, and the file that is made of them and of the upload's sound."""

from __future__ import annotations

import errno
import resource
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.logging
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from service.media import mux, mux_child
from service.media.child_main import Outlet
from service.media.codecs import VideoCodec, find_codec
from service.media.frame import ColorMatrix, VideoFrame
from service.media.mux import mux_video
from service.media.video_errors import VideoError
from service.media.writer import VideoWriter
from shared.errors import YaopError
from tests import clips, photos

EVERY_CODEC = ("h264", "vp9", "mpeg4", "mjpeg", "XVID")
SIZE = (160, 120)


def frame_at(
    index: int, time: float, image: photos.Image, matrix: ColorMatrix = "bt601", pts: int | None = None
) -> VideoFrame:
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    planes = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420).astype(np.uint8)
    return VideoFrame(index, time, index if pts is None else pts, width, height, planes, matrix)


def write_segments(
    folder: Path,
    codec: VideoCodec,
    times: Sequence[float],
    *,
    size: tuple[int, int] = SIZE,
    lengths: Sequence[int] = (7, 1, 100),
    fps: float = 30,
    picture: clips.Picture | None = None,
) -> list[Path]:
    """Segments of so many frames, which show their index."""
    picture = picture or clips.pattern(size)
    paths: list[Path] = []
    index = 0
    for length in lengths:
        here = range(index, min(index + length, len(times)))
        index += length
        if not here:
            break
        paths.append(folder / f"{codec.fourcc}-{len(paths)}.nut")
        with VideoWriter(paths[-1], codec, *size, fps=fps, matrix="bt601") as writer:
            for i in here:
                writer.write(frame_at(i, times[i], picture(i)))
    return paths


def read(path: Path) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Times and luma planes of all pictures; nothing may be wrong with any of them."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as said, av.open(str(path)) as container:
            frames = list(container.decode(video=0))
    finally:
        av.logging.set_level(None)
    assert not said
    planes = [frame.to_ndarray(format="gray").astype(np.uint8, copy=False) for frame in frames]
    return [float(frame.time or 0) for frame in frames], planes


def loud_times(path: Path) -> list[float]:
    """Seconds at which each beep begins."""
    times: list[NDArray[np.float64]] = []
    samples: list[NDArray[np.float64]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            piece = frame.to_ndarray().astype(np.float64).reshape(-1 if frame.format.is_planar else 1, frame.samples)[0]
            samples.append(piece / (32768 if frame.format.name.startswith("s16") else 1))
            times.append(float(frame.time or 0) + np.arange(frame.samples) / frame.sample_rate)
    loud = np.concatenate(times)[np.abs(np.concatenate(samples)) > 0.2]
    return [float(time) for time in loud[np.diff(loud, prepend=-9) > 0.3]]


def flashing(index: int) -> photos.Image:
    """White in the first frame of each second of 30, grey else."""
    return np.full((SIZE[1], SIZE[0], 3), 250 if index % 30 == 0 else 60, np.uint8)


def seconds(frames: int, fps: float = 30) -> list[float]:
    return [index / fps for index in range(frames)]


@pytest.mark.parametrize("name", EVERY_CODEC)
def test_joined_segments_hold_exactly_the_frames_that_were_written(name: str, tmp_path: Path) -> None:
    codec = find_codec(name)
    times = seconds(23, 30000 / 1001)
    out = tmp_path / f"out{codec.suffix}"
    info = mux_video(write_segments(tmp_path, codec, times, fps=29.97), out, codec, fps=29.97)
    read_times, planes = read(out)
    assert [clips.index_in(plane) for plane in planes] == list(range(23))
    np.testing.assert_allclose(read_times, times, atol=0.0006)
    assert planes[0].shape == (SIZE[1], SIZE[0])
    assert (info.frames, info.bytes, info.audio, info.warnings) == (23, out.stat().st_size, None, ())
    assert info.seconds == pytest.approx(23 * 1001 / 30000, abs=0.002)


@pytest.mark.parametrize("name", EVERY_CODEC)
def test_packets_are_in_order_and_each_segment_begins_with_a_key_picture(name: str, tmp_path: Path) -> None:
    codec = find_codec(name)
    out = tmp_path / f"out{codec.suffix}"
    mux_video(write_segments(tmp_path, codec, seconds(20), lengths=(8, 12)), out, codec)
    with av.open(str(out)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        tag = container.streams.video[0].codec_context.codec_tag
    assert [packet.is_keyframe for packet in packets][0:9:8] == [True, True]
    stamps = [packet.dts for packet in packets]
    assert all(a < b for a, b in pairwise(stamps))  # type: ignore[operator]
    assert all(packet.pts == packet.dts for packet in packets)
    if codec.container != "webm":
        assert tag == codec.fourcc


@pytest.mark.parametrize("name", ["h264", "vp9", "mpeg4"])
def test_a_variable_rate_is_kept(name: str, tmp_path: Path) -> None:
    codec = find_codec(name)
    times = clips.shifting_timestamps(24)
    out = tmp_path / f"out{codec.suffix}"
    mux_video(write_segments(tmp_path, codec, times, lengths=(5, 5, 5, 100)), out, codec)
    np.testing.assert_allclose(read(out)[0], times, atol=0.00051)


@pytest.mark.parametrize(
    ("fps", "exact"), [(24000 / 1001, True), (25, True), (59.94, True), (120, True), (17.3, False)]
)
def test_usual_frame_rates_are_exact(fps: float, exact: bool, tmp_path: Path) -> None:
    codec = find_codec("h264")
    times = seconds(6, 60000 / 1001 if fps == 59.94 else fps)
    out = tmp_path / "out.mp4"
    mux_video(write_segments(tmp_path, codec, times, fps=fps), out, codec, fps=fps)
    with av.open(str(out)) as container:
        stream: Any = container.streams.video[0]
        assert not exact or abs(stream.average_rate - fps) < 1e-4
    np.testing.assert_allclose(read(out)[0], times, atol=1e-5)


@pytest.mark.parametrize("name", EVERY_CODEC)
@pytest.mark.parametrize("fps", [0.0004, 1 / 3600, 0.0015, 119.88])
def test_unusual_frame_rates_are_kept(fps: float, name: str, tmp_path: Path) -> None:
    codec = find_codec(name)
    times = seconds(3, fps)
    out = tmp_path / f"out{codec.suffix}"
    mux_video(write_segments(tmp_path, codec, times, fps=fps), out, codec, fps=fps)
    np.testing.assert_allclose(read(out)[0], times, rtol=1e-5, atol=0.00051)


@pytest.mark.parametrize("name", ["XVID", "mjpeg"])
@pytest.mark.parametrize("fps", [0.0, 1 / 7200, 1e6])
def test_a_rate_that_an_avi_file_cannot_have_becomes_the_nearest(fps: float, name: str, tmp_path: Path) -> None:
    codec = find_codec(name)
    path = tmp_path / "a.nut"
    with VideoWriter(path, codec, *SIZE, fps=fps) as writer:
        for index in range(2):
            writer.write(frame_at(index, index, np.full((120, 160, 3), 90, np.uint8)))
    assert len(read(path)[0]) == 2


@pytest.mark.parametrize("name", EVERY_CODEC)
@pytest.mark.parametrize("size", [(1, 1), (161, 90), (62, 121)])
def test_odd_sizes_become_even(size: tuple[int, int], name: str, tmp_path: Path) -> None:
    codec = find_codec(name)
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    path = tmp_path / "a.nut"
    with VideoWriter(path, codec, *size) as writer:
        for index in range(3):
            writer.write(frame_at(index, index / 30, image))
    _, planes = read(path)
    assert [plane.shape for plane in planes] == [(size[1] + size[1] % 2, size[0] + size[0] % 2)] * 3


# MPEG-4 Part 2 names no matrix here: players go by the size.
MATRICES = [(name, "bt601") for name in EVERY_CODEC] + [(name, "bt709") for name in ("h264", "vp9", "mjpeg")]


@pytest.mark.parametrize(("name", "matrix"), MATRICES)
def test_colours_are_kept(name: str, matrix: ColorMatrix, tmp_path: Path) -> None:
    codec = find_codec(name)
    frame = frame_at(0, 0.0, cv2.resize(photos.astronaut(), (200, 202)).astype(np.uint8), matrix)
    segment, out = tmp_path / "a.nut", tmp_path / f"out{codec.suffix}"
    with VideoWriter(segment, codec, 200, 202, matrix=matrix) as writer:
        writer.write(frame)
    mux_video([segment], out, codec)
    with av.open(str(out)) as container:
        decoded = next(container.decode(video=0))
        seen = decoded.to_ndarray(format="rgb24").astype(int)
    blurred = [cv2.blur(image.astype(np.float32), (5, 5)) for image in (seen, frame.rgb())]
    assert np.abs(blurred[0] - blurred[1]).mean() < 3.5
    if name == "h264":
        assert (decoded.colorspace, decoded.color_range) == ({"bt601": 6, "bt709": 1}[matrix], 1)


ASPECTS = [(name, *shape) for name in EVERY_CODEC for shape in [((4, 3), (213, 120)), ((1, 2), (160, 240))]]
LYING = [(name, (900, 1), (160, 120)) for name in ("vp9", "mjpeg")]


@pytest.mark.parametrize(("name", "aspect", "shown"), ASPECTS + LYING)
def test_pixels_that_are_not_square_are_shown_in_their_shape(
    name: str, aspect: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    codec = find_codec(name)
    segment, out = tmp_path / "a.nut", tmp_path / f"out{codec.suffix}"
    with VideoWriter(segment, codec, *SIZE, sample_aspect=aspect, matrix="bt601") as writer:
        writer.write(frame_at(0, 0.0, clips.pattern(SIZE)(21)))
    mux_video([segment], out, codec)
    with av.open(str(out)) as container:
        stream: Any = container.streams.video[0]
        size = np.array([stream.width, stream.height])
        pixel = stream.sample_aspect_ratio or Fraction(1)
    assert clips.index_in(read(out)[1][0]) == 21
    assert size[0] * pixel / size[1] == pytest.approx(shown[0] / shown[1], rel=0.01)


def test_h264_is_what_browsers_play_and_begins_with_its_index(tmp_path: Path) -> None:
    codec = find_codec("h264")
    out = tmp_path / "out.mp4"
    mux_video(write_segments(tmp_path, codec, seconds(10)), out, codec)
    data = out.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(out)) as container:
        context: Any = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.profile, context.has_b_frames) == ("yuv420p", "Constrained Baseline", False)
        assert context.level <= 31


def test_a_player_that_seeks_finds_a_key_picture_every_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.nut"
    with VideoWriter(path, find_codec("h264"), *SIZE, fps=10) as writer:
        for index in range(45):
            writer.write(frame_at(index, index / 10, np.full((120, 160, 3), 90, np.uint8)))
    with av.open(str(path)) as container:
        keys = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]  # type: ignore[operator]
    assert keys == [0.0, 2.0, 4.0]


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.nut", find_codec("h264"), *SIZE) as writer:
        writer.write(frame_at(0, 0.0, clips.pattern(SIZE)(0)))
        with pytest.raises(ValueError, match="planes"):
            writer.write(frame_at(1, 0.1, clips.pattern((80, 60))(0)))


def test_a_size_that_a_codec_cannot_have_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(YaopError, match="9000 x 16 pixels cannot be mpeg4"):
        VideoWriter(tmp_path / "a.nut", find_codec("mpeg4"), 9000, 16)


def test_a_writer_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    def give_up() -> None:
        with VideoWriter(tmp_path / "a.nut", find_codec("h264"), *SIZE) as writer:
            writer.write(frame_at(0, 0.0, clips.pattern(SIZE)(0)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(YaopError, match=r"gone/a\.nut: No such file"):
        VideoWriter(tmp_path / "gone" / "a.nut", find_codec("h264"), *SIZE)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As if the disk were full: Linux answers EFBIG where it answers ENOSPC else."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_a_segment_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)

    def fill() -> None:
        with files_up_to(20_000), VideoWriter(tmp_path / "a.nut", find_codec("mjpeg"), *SIZE) as writer:
            for index in range(40):
                writer.write(frame_at(index, index / 30, noise))

    with pytest.raises(YaopError, match=r"a\.nut: File too large"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_joining_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = find_codec("h264")
    segments = write_segments(tmp_path, codec, seconds(5))
    out = tmp_path / "out.mp4"
    out.write_bytes(b"before")
    monkeypatch.setattr(mux, "_SPARE_BYTES", 1000 - 2 * sum(path.stat().st_size for path in segments))
    with pytest.raises(YaopError, match=r"out\.mp4: File too large"):
        mux_video(segments, out, codec)
    assert out.read_bytes() == b"before"
    assert sorted(tmp_path.iterdir()) == sorted([out, *segments])


def cause_of(error: BaseException) -> int | None:
    cause = error.__cause__
    return cause.errno if isinstance(cause, OSError) else None


@contextmanager
def full_disk(out: Path) -> Iterator[Path]:
    """A name beside `out` for a file that takes nothing."""
    path = out.with_name("full")
    path.symlink_to("/dev/full")
    yield path


def test_the_cause_of_a_full_disk_is_told_by_the_writer(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)

    def fill() -> None:
        with full_disk(tmp_path / "a") as path, VideoWriter(path, find_codec("mjpeg"), *SIZE) as writer:
            for index in range(40):
                writer.write(frame_at(index, index / 30, noise))

    with pytest.raises(YaopError) as caught:
        fill()
    assert cause_of(caught.value) == errno.ENOSPC


@pytest.mark.parametrize("sound", [None, "aac"])
def test_the_cause_of_a_full_disk_is_told_by_the_joining(
    sound: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = find_codec("h264")
    segments = write_segments(tmp_path, codec, seconds(5))
    source = sound and clips.make_clip(tmp_path / "source.mp4", frames=5, audio=sound)
    monkeypatch.setattr(mux, "replacing", full_disk)
    with pytest.raises(YaopError, match="No space left") as caught:
        mux_video(segments, tmp_path / "out.mp4", codec, audio_from=source or None)
    assert cause_of(caught.value) == errno.ENOSPC


def instead_of_the_child(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(mux, "module_command", lambda _: [sys.executable, "-P", "-c", textwrap.dedent(script)])


def test_a_joining_that_is_ended_from_outside_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = find_codec("h264")
    segments = write_segments(tmp_path, codec, seconds(5))
    source = clips.make_clip(tmp_path / "source.mp4", frames=5, audio="aac")
    instead_of_the_child(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(VideoError) as caught:
        mux_video(segments, tmp_path / "out.mp4", codec, audio_from=source)
    assert caught.value.reason == "interrupted"
    assert not (tmp_path / "out.mp4").exists()


class SlowToClose:
    """A container that takes its time."""

    def __init__(self, container: Any, told: list[Mapping[str, Any]]) -> None:
        self.container, self.told = container, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)

    def close(self) -> None:
        self.told.append({"closing": True})
        self.container.close()


@pytest.mark.parametrize("name", ["h264", "vp9"])
def test_whoever_waits_is_told_before_the_index_is_moved_to_the_front(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = find_codec(name)
    out = tmp_path / f"out{codec.suffix}"
    told: list[Mapping[str, Any]] = []

    class Ear(Outlet):
        def send(self, head: Mapping[str, Any], payload: object = ()) -> None:
            told.append(head)

    opened = av.open

    def slow(*arguments: Any, **options: Any) -> Any:
        container = opened(*arguments, **options)
        return SlowToClose(container, told) if "w" in arguments else container

    monkeypatch.setattr(mux_child.av, "open", slow)
    segments = [str(path) for path in write_segments(tmp_path, codec, seconds(5))]
    request = {"segments": segments, "out": str(out), "fourcc": codec.fourcc, "fps": 30, "sound": None}
    mux_child.mux(request, Ear(1))
    *_, patience, closing, answer = told
    assert patience["patience"] >= 30 and closing == {"closing": True} and answer["frames"] == 5


@pytest.mark.parametrize(("name", "how"), [("h264", "copied"), ("vp9", "converted")])
def test_nothing_else_can_be_opened_while_the_sound_is_read(
    name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = find_codec(name)
    source = clips.make_clip(tmp_path / "source.mp4", frames=75, audio="aac")
    script = """
        import os, socket
        from service.media import child_main, mux_child, sound

        def attempt(notes):
            for opening in (lambda: os.open("/etc/passwd", os.O_RDONLY), socket.socket, os.pipe):
                try:
                    opening()
                except OSError as error:
                    notes.append(f"refused: {error.errno}")
                else:
                    notes.append(f"done: {opening}")

        class Watched(sound.Sound):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                attempt(self.notes)
            def _demuxed(self):
                for packet in super()._demuxed():
                    attempt(self.notes)
                    yield packet
                attempt(self.notes)

        mux_child.Sound = Watched
        child_main.run(mux_child.mux)
    """
    instead_of_the_child(monkeypatch, script)
    segments = write_segments(tmp_path, codec, seconds(60), lengths=(20, 20, 20))
    info = mux_video(segments, tmp_path / f"out{codec.suffix}", codec, audio_from=source)
    assert (info.audio, info.frames) == (how, 60)
    assert len(info.warnings) > 300 and set(info.warnings) == {f"refused: {errno.EMFILE}"}


SOURCES = [
    # codec, encoder of the source's sound, its container, when its sound begins, when its pictures begin, what happens
    ("h264", "aac", "mp4", 0.0, 0.0, "copied"),
    ("h264", "aac", "mp4", 0.3, 0.0, "copied"),
    ("h264", "aac", "mp4", 0.0, 0.5, "copied"),
    ("h264", "libmp3lame", "mkv", 0.0, 0.3, "copied"),
    ("h264", "libopus", "mkv", 0.0, 0.5, "converted"),
    ("h264", "pcm_s16le", "mov", 0.2, 0.0, "converted"),
    ("vp9", "aac", "mp4", 0.0, 0.5, "converted"),
    ("vp9", "libopus", "mkv", 0.3, 0.0, "copied"),
    ("vp9", "libopus", "mkv", 0.0, 0.5, "copied"),
    ("mjpeg", "aac", "mp4", 0.3, 0.0, "converted"),
    ("XVID", "pcm_s16le", "mov", 0.0, 0.5, "converted"),
]


@pytest.mark.parametrize(("name", "sound", "container", "sound_begins", "pictures_begin", "how"), SOURCES)
def test_sound_stays_with_the_pictures(
    name: str, sound: str, container: str, sound_begins: float, pictures_begin: float, how: str, tmp_path: Path
) -> None:
    codec = find_codec(name)
    stamps = [pictures_begin + time for time in seconds(75)]
    source = clips.make_clip(
        tmp_path / f"source.{container}",
        frames=75,
        picture=flashing,
        timestamps=stamps,
        audio=sound,
        audio_delay=sound_begins,
        b_frames=0,
    )
    with av.open(str(source)) as opened:
        first = next(opened.decode(video=0))
        assert float(first.time or 0) == pytest.approx(pictures_begin, abs=0.001)
    out = tmp_path / f"out{codec.suffix}"
    segments = write_segments(tmp_path, codec, seconds(75), lengths=(40, 40), picture=flashing)
    info = mux_video(segments, out, codec, audio_from=source, first_pts=first.pts)
    assert (info.audio, info.frames, info.warnings) == (how, 75, ())
    times, planes = read(out)
    flashes = [time for time, plane in zip(times, planes, strict=True) if plane.mean() > 150]
    np.testing.assert_allclose(flashes, [0.0, 1.0, 2.0], atol=0.001)
    beeps = [time for time in loud_times(out) if time > 0.2]  # one at 0 may be cut into
    expected = [at for at in (1 - pictures_begin, 2 - pictures_begin) if at > 0.2]
    np.testing.assert_allclose(beeps, expected, atol=0.0025)


def test_a_pause_in_the_sound_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000)
        stream.layout = "mono"
        for begins in (0.0, 1.5):  # half a second of sound, then nothing at all for one
            tone = (20_000 * np.sin(np.arange(24_000) / 10)).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, round(begins * 48_000), Fraction(1, 48_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for name in ("XVID", "vp9"):
        codec = find_codec(name)
        out = tmp_path / f"out{codec.suffix}"
        mux_video(write_segments(tmp_path, codec, seconds(60)), out, codec, audio_from=source)
        np.testing.assert_allclose(loud_times(out)[-1], 1.5, atol=0.003)


def test_sound_that_goes_on_without_pictures_is_cut(tmp_path: Path) -> None:
    codec = find_codec("h264")
    source = clips.make_clip(tmp_path / "source.mp4", frames=26, fps=2, audio="aac")
    out = tmp_path / "out.mp4"
    info = mux_video(write_segments(tmp_path, codec, seconds(4, 2), fps=2), out, codec, fps=2, audio_from=source)
    assert info.warnings == ("the sound goes on for longer than the pictures and was cut",)
    with av.open(str(out)) as container:
        heard = [float(frame.time or 0) for frame in container.decode(audio=0)]
    assert 11.9 < heard[-1] < 12.05
    assert info.seconds == pytest.approx(2.0)


def test_a_source_without_sound_makes_a_file_without(tmp_path: Path) -> None:
    codec = find_codec("h264")
    source = clips.make_clip(tmp_path / "source.mp4", frames=5)
    info = mux_video(write_segments(tmp_path, codec, seconds(5)), tmp_path / "out.mp4", codec, audio_from=source)
    assert (info.audio, info.warnings, info.frames) == (None, (), 5)


def test_sound_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    codec = find_codec("h264")
    source = tmp_path / "source.mp4"
    source.write_text("no video at all")
    out = tmp_path / "out.mp4"
    info = mux_video(write_segments(tmp_path, codec, seconds(5)), out, codec, audio_from=source)
    assert info.audio is None
    assert len(info.warnings) == 1 and info.warnings[0].startswith("the sound could not be kept: ")
    assert len(read(out)[0]) == 5


def test_an_upload_that_ends_early_keeps_the_sound_it_has(tmp_path: Path) -> None:
    source = clips.cut_off(clips.make_clip(tmp_path / "source.mkv", frames=60, audio="pcm_s16le"), 0.7)
    codec = find_codec("vp9")
    out = tmp_path / "out.webm"
    info = mux_video(write_segments(tmp_path, codec, seconds(60)), out, codec, audio_from=source)
    assert (info.frames, info.audio) == (60, "converted")
    np.testing.assert_allclose(loud_times(out), [0.0, 1.0], atol=0.003)


def test_segments_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    codec = find_codec("h264")
    (tmp_path / "other").mkdir()
    segments = write_segments(tmp_path, codec, seconds(5))
    other = write_segments(tmp_path / "other", codec, seconds(5), size=(80, 60))
    with pytest.raises(YaopError, match=r"out\.mp4: .*segment avc1-0\.nut was encoded with other settings"):
        mux_video([*segments, *other], tmp_path / "out.mp4", codec)
    assert not (tmp_path / "out.mp4").exists()


def test_a_segment_that_is_cut_off_or_missing_is_named(tmp_path: Path) -> None:
    codec = find_codec("h264")
    segments = write_segments(tmp_path, codec, seconds(9), lengths=(5, 4))
    segments[1].write_bytes(segments[1].read_bytes()[:-1])
    with pytest.raises(YaopError, match=r"avc1-1\.nut is cut off"):
        mux_video(segments, tmp_path / "out.mp4", codec)
    segments[1].unlink()
    with pytest.raises(YaopError, match=r"avc1-1\.nut: No such file"):
        mux_video(segments, tmp_path / "out.mp4", codec)
    with pytest.raises(ValueError, match="no segments"):
        mux_video([], tmp_path / "out.mp4", codec)
