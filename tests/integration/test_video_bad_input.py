"""Bad and hostile videos: a clear error, or every frame that is there; no hang, no crash, no other file touched."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from av.stream import Disposition

from service.media.child import Child, ask
from service.media.frame import VideoFrame
from service.media.limits import VideoLimits
from service.media.probe import VideoInfo, probe_video
from service.media.reader import MAX_NOTES, Position, VideoReader
from service.media.video_errors import VideoError, VideoErrorReason
from service.media.video_problems import video_problem
from tests import photos
from tests.clips import (
    TICKS,
    audio_only,
    cut_off,
    damage_packet,
    index_in,
    make_clip,
    packets,
    patch_box,
    shifting_timestamps,
)

FAST_START = {"movflags": "faststart"}


def reason_of(path: Path, limits: VideoLimits = VideoLimits()) -> str:
    with pytest.raises(VideoError) as caught:
        probe_video(path, limits)
    assert str(caught.value)
    return caught.value.reason


def read_all(path: Path, limits: VideoLimits = VideoLimits()) -> tuple[VideoInfo, list[VideoFrame], list[str]]:
    info = probe_video(path, limits)
    with VideoReader(path, info, limits) as reader:
        frames = list(reader)
    return info, frames, reader.skipped


def indexes(frames: list[VideoFrame]) -> list[int]:
    return [index_in(frame.rgb()) for frame in frames]


# ---- no video at all


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


NOT_VIDEOS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "text": (b"Not a video.\n" * 100, "not-video"),
    "noise": (random.Random(1).randbytes(5000), "not-video"),
    "a photograph": (photos.encode(photos.nobody()), "not-video"),
    "one byte": (b"\x00", "not-video"),
    "Ogg": (b"OggS" + bytes(200), "unsupported-container"),
    "a transport stream": ((b"G" + bytes(187)) * 20, "unsupported-container"),
    "a box that leads nowhere": (b"\x00\x00\x00\x18ftypisom" + bytes(2000), "truncated"),
    "headers of AVI only": (b"RIFF\xff\xff\x00\x00AVI LIST" + bytes(300), "truncated"),
    "headers of Matroska only": (b"\x1a\x45\xdf\xa3" + bytes(300), "corrupt"),
}


@pytest.mark.parametrize("name", NOT_VIDEOS)
def test_what_is_no_video_is_refused(name: str, tmp_path: Path) -> None:
    data, reason = NOT_VIDEOS[name]

    assert reason_of(written(tmp_path / "upload.mp4", data)) == reason


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")

    for path in (tmp_path, tmp_path / "missing.mp4", tmp_path / "pipe.mp4", Path("/dev/zero")):
        assert reason_of(path) == "not-video"


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    for name, codec in (("a.m4a", "aac"), ("b.mkv", "libopus"), ("c.avi", "libmp3lame")):
        assert reason_of(audio_only(tmp_path / name, codec=codec)) == "no-video-stream"


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "album.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        cover: Any = out.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        sound: Any = out.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        out.mux(cover.encode(None))
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))

    assert reason_of(path) == "no-video-stream"


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_video_of_no_frames_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"none{suffix}"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        out.start_encoding()

    assert reason_of(path) == "no-frames"


def test_an_index_of_no_frames_is_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "none.mp4", frames=3, b_frames=2)
    for box, offset in ((b"stts", 4), (b"ctts", 4), (b"stss", 4), (b"stsc", 4), (b"stco", 4), (b"stsz", 8)):
        patch_box(path, box, offset, bytes(4))

    assert reason_of(path) == "no-frames"


def test_an_unusual_codec_is_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "odd.avi", codec="cljr", pixel_format="yuv411p", frames=2)

    assert reason_of(path) == "unsupported-codec"


# ---- cut off


def test_a_file_without_its_index_is_told_so(tmp_path: Path) -> None:
    path = cut_off(make_clip(tmp_path / "phone.mp4"), 0.6)

    with pytest.raises(VideoError, match="moov") as caught:
        probe_video(path)

    assert caught.value.reason == "truncated"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"container_options": FAST_START}),
        ("b.mkv", {}),
        ("c.avi", {"codec": "mpeg4"}),
        ("d.webm", {"codec": "libvpx-vp9"}),
    ],
)
def test_of_a_file_that_is_cut_off_the_first_part_is_read(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = cut_off(make_clip(tmp_path / name, frames=60, size=(320, 240), **options), 0.6)

    info, frames, notes = read_all(path)

    assert 20 < len(frames) < 55 and abs(info.frames - len(frames)) <= 1
    assert indexes(frames)[:-1] == list(range(len(frames) - 1))  # the last may be damaged
    assert info.ends_early and "missing" in info.warnings[0]
    assert "ends early" in notes[-1]


def test_of_a_file_that_is_cut_off_at_its_first_frame_nothing_is_read(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", container_options=FAST_START)
    position, size = packets(path)[0]
    path.write_bytes(path.read_bytes()[: position + size // 2])

    assert reason_of(path) == "truncated"


# ---- headers that lie


def test_headers_that_promise_more_or_less_frames_change_nothing(tmp_path: Path) -> None:
    for count, odd in ((3_000_000, True), (1, False)):
        path = make_clip(tmp_path / "frames.avi", codec="mpeg4", frames=20)
        patch_box(path, b"avih", 4 + 16, struct.pack("<I", count))
        patch_box(path, b"strh", 4 + 32, struct.pack("<I", count))

        info, frames, _ = read_all(path)

        assert info.frames == len(frames) == 20 and info.seconds == pytest.approx(20 / 30)
        assert info.ends_early == odd


@pytest.mark.parametrize("ticks", [1, 0x7FFFFFFF])
def test_a_duration_that_is_not_true_is_not_believed(ticks: int, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "duration.mp4", frames=20)
    for box, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        patch_box(path, box, offset, struct.pack(">I", ticks))

    info, frames, notes = read_all(path)

    assert info.seconds == pytest.approx(20 / 30) and len(frames) == 20 and notes == []


def test_time_stamps_of_ten_hours_are_over_the_limit(tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mkv", frames=3, timestamps=[0, 1, 36_000])
    slow = make_clip(tmp_path / "slow.mp4", frames=20, b_frames=0, container_options={"use_editlist": "0"})
    patch_box(slow, b"stts", 4, struct.pack(">III", 1, 20, 30 * 60 * TICKS))

    assert reason_of(long) == "too-long"
    assert reason_of(slow) == "too-long"


@pytest.mark.parametrize("degrees", [45, 100])
def test_a_rotation_that_no_phone_makes_is_taken_for_the_next_best(degrees: int, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "rotation.mp4", frames=3)
    sine, cosine = (round(65536 * float(f(np.radians(degrees)))) for f in (np.sin, np.cos))
    patch_box(path, b"tkhd", 40, struct.pack(">9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30))

    info, frames, _ = read_all(path)

    assert info.rotation in (0, 90) and any("matrix" in warning for warning in info.warnings)
    assert len(frames) == 3


def test_a_size_in_the_header_that_is_not_true_is_not_believed(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "size.mp4", frames=3)
    patch_box(path, b"avc1", 24, struct.pack(">HH", 32, 16), nth=-1 + path.read_bytes().count(b"avc1"))

    info, frames, _ = read_all(path)

    assert (info.width, info.height) == (160, 120) and indexes(frames) == [0, 1, 2]


def test_a_picture_larger_than_the_header_says_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "bomb.mp4", frames=3, size=(1280, 720))
    patch_box(path, b"avc1", 24, struct.pack(">HH", 32, 16), nth=-1 + path.read_bytes().count(b"avc1"))

    assert reason_of(path, VideoLimits(max_pixels=160 * 120)) in ("too-large-pixels", "corrupt")


# ---- over the limits


def test_8k_is_over_the_limit_and_4k_is_not(tmp_path: Path) -> None:
    flat = np.full((4320, 7680, 3), 90, np.uint8)
    huge = make_clip(tmp_path / "8k.mp4", frames=1, size=(7680, 4320), codec="mpeg4", picture=lambda _: flat)
    large = make_clip(
        tmp_path / "4k.mp4", frames=1, size=(4096, 2160), codec="mpeg4", picture=lambda _: flat[:2160, :4096]
    )

    with pytest.raises(VideoError, match="7680 x 4320") as caught:
        probe_video(huge)
    assert caught.value.reason == "too-large-pixels"
    assert probe_video(large).width == 4096


def test_limits_are_exact(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=30)

    assert probe_video(path, VideoLimits(max_pixels=160 * 120, max_seconds=1.0, max_frames=30)).frames == 30
    assert reason_of(path, VideoLimits(max_pixels=160 * 120 - 1)) == "too-large-pixels"
    assert reason_of(path, VideoLimits(max_seconds=0.99)) == "too-long"
    assert reason_of(path, VideoLimits(max_frames=29)) == "too-many-frames"


# ---- damage in the middle

DAMAGED: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "hevc.mp4": {"codec": "libx265"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "vp8.webm": {"codec": "libvpx"},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_one_corrupt_frame_is_told_and_skipped_and_the_rest_comes(name: str, tmp_path: Path) -> None:
    path = damage_packet(make_clip(tmp_path / name, frames=40, **DAMAGED[name]), 20)

    info, frames, notes = read_all(path)

    assert info.frames == 40 and len(frames) == 39
    assert len(notes) == 1 and "left out" in notes[0]
    assert 0.5 < float(notes[0].split(" s ")[0].split()[-1]) < 0.8  # it says when
    assert indexes(frames)[:18] == list(range(18)) and indexes(frames)[-4:] == [36, 37, 38, 39]
    assert frames[-1].timestamp == pytest.approx(39 / 30, abs=0.001)  # nothing moves


def test_a_frame_that_is_damaged_in_part_is_shown_and_told(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "part.avi", frames=20, codec="mjpeg", pixel_format="yuvj420p")

    _, frames, notes = read_all(damage_packet(path, 10, share=0.3))

    assert len(frames) == 20 and len(notes) == 1 and "as far as" in notes[0]


@pytest.mark.parametrize("name", DAMAGED)
def test_reading_on_behind_damage_is_no_different(name: str, tmp_path: Path) -> None:
    path = damage_packet(make_clip(tmp_path / name, frames=40, **DAMAGED[name]), 20)
    info, frames, _ = read_all(path)

    for middle in (21, 37):
        with VideoReader(path, info, start=Position(middle, frames[middle].pts)) as reader:
            rest = list(reader)
        assert [(f.index, f.pts) for f in rest] == [(f.index, f.pts) for f in frames[middle:]]
        assert all(np.array_equal(f.planes, e.planes) for f, e in zip(rest, frames[middle:], strict=True))


def test_many_corrupt_frames_do_not_fill_the_memory_with_notes(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "many.avi", frames=150, size=(64, 64), codec="mjpeg", pixel_format="yuvj420p")
    for number in range(5, 145):
        damage_packet(path, number)

    _, frames, notes = read_all(path)

    assert len(frames) == 10 and len(notes) == MAX_NOTES + 1 and "more" in notes[-1]


def test_a_file_of_which_no_frame_can_be_decoded_is_corrupt(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "none.avi", frames=5, codec="mjpeg", pixel_format="yuvj420p")
    for number in range(5):
        damage_packet(path, number)

    assert reason_of(path) == "corrupt"


def test_time_stamps_that_stand_still_are_made_to_rise(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "still.mp4", frames=20, b_frames=0)
    patch_box(path, b"stts", 4, struct.pack(">III", 1, 20, 0))

    info, frames, _ = read_all(path)
    with VideoReader(path, info, start=Position(7, frames[7].pts)) as reader:
        rest = list(reader)

    times = [frame.timestamp for frame in frames]
    assert indexes(frames) == list(range(20)) and all(np.diff(times) > 0)
    assert [(f.index, f.pts, f.timestamp) for f in rest] == [(f.index, f.pts, f.timestamp) for f in frames[7:]]


@pytest.mark.parametrize("seed", range(16, 24))
def test_random_damage_gives_frames_or_a_clear_error(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    suffix, codec = dice.choice([(".mp4", "libx264"), (".mkv", "libx265"), (".avi", "mpeg4"), (".webm", "libvpx-vp9")])
    path = make_clip(tmp_path / f"fuzz{suffix}", frames=12, size=(96, 64), codec=codec)
    data = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 40)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    path.write_bytes(data)

    refused = ""
    info, frames, notes = None, list[VideoFrame](), list[str]()
    try:
        info, frames, notes = read_all(path)
    except VideoError as error:
        refused = error.reason

    if info is None:
        assert refused not in ("", "too-slow", "too-much-memory")
    else:
        assert 0 < len(frames) <= 12 and (len(frames) == info.frames or notes)


# ---- files that reach for others


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.setblocking(False)
        yield server


def playlists(target: Path, port: int) -> dict[str, bytes]:
    url = f"http://127.0.0.1:{port}/clip.ts"
    texts = {
        "hls of a file": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "hls of an address": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        "hls of a concat": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nconcat:{target}|{url}\n#EXT-X-ENDLIST\n",
        "concat script": f"ffconcat version 1.0\nfile '{target}'\n",
        "concat script of an address": f"ffconcat version 1.0\nfile '{url}'\n",
        "dash": f"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{url}</BaseURL></MPD>",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
        "smil": f"<smil><body><video src='{url}'/></body></smil>",
    }
    found = {name: text.encode() for name, text in texts.items()}
    found["hls in the dress of MP4"] = b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + found["hls of an address"]
    found["hls in the dress of AVI"] = b"RIFF\x00\x10\x00\x00AVI " + found["hls of an address"]
    return found


def test_playlists_reach_neither_files_nor_the_network(tmp_path: Path, listener: socket.socket) -> None:
    target = make_clip(tmp_path / "secret.mp4", frames=3)
    for name, data in playlists(target, listener.getsockname()[1]).items():
        for suffix in (".mp4", ".m3u8") if name == "hls of a file" else (".mp4",):
            reason = reason_of(written(tmp_path / f"upload{suffix}", data))
            expected = ("unsupported-container", "not-video", "corrupt", "truncated", "no-video-stream")
            assert reason in expected, name

    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_quicktime_reference_to_another_file_is_not_followed(tmp_path: Path) -> None:
    target = make_clip(tmp_path / "secret.mov", frames=3)
    path = make_clip(tmp_path / "upload.mov", frames=3)
    data = path.read_bytes()
    reference = b"url " + struct.pack(">I", 0) + f"file://{target}\0".encode()
    old = data.index(b"url ", data.index(b"dref")) - 4
    assert data[old : old + 4] == struct.pack(">I", 12)  # "the data is in this file"
    grown = len(reference) + 4 - 12
    data = bytearray(data[:old] + struct.pack(">I", len(reference) + 4) + reference + data[old + 12 :])
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = data.index(box) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + grown)
    position, size = packets(path)[0]
    data[position : position + size] = bytes(size)  # were the reference followed, its first frame would come
    path.write_bytes(data)

    try:
        _, frames, _ = read_all(path)
    except VideoError:
        return
    assert 0 not in indexes(frames)


def command(script: str) -> list[str]:
    return [sys.executable, "-P", "-c", textwrap.dedent(script)]


def run_in_child(script: str, tmp_path: Path, **limits: Any) -> dict[str, Any]:
    """What ``work(request, outlet)`` of the script sends from a child that is held to limits."""
    whole = textwrap.dedent(script) + "\nfrom service.media import child_main\nchild_main.run(work)\n"
    request = {"folder": str(tmp_path), "limits": {"memory_bytes": 1 << 31, "cpu_seconds": 20} | limits}
    return ask([sys.executable, "-P", "-c", whole], request, 30)


def test_the_process_that_decodes_can_open_nothing_else(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", frames=3)
    script = """
        import os, socket
        from pathlib import Path
        from service.media.source import Source
        attempts = {
            "read": lambda folder: os.open("/etc/passwd", os.O_RDONLY),
            "write": lambda folder: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
            "connect": lambda folder: socket.socket(),
            "pipe": lambda folder: os.pipe(),
        }
        def work(request, outlet):
            folder, failed = Path(request["folder"]), []
            with Source(folder / "clip.mp4", 10**6, 1):
                for name, attempt in attempts.items():
                    try:
                        attempt(folder)
                    except OSError:
                        failed.append(name)
            outlet.send({"failed": failed, "secrets": [name for name in os.environ if "TOKEN" in name]})
    """
    os.environ["YAOP_TEST_TOKEN"] = "secret"
    try:
        answer = run_in_child(script, tmp_path)
    finally:
        del os.environ["YAOP_TEST_TOKEN"]

    assert answer["failed"] == ["read", "write", "connect", "pipe"]
    assert answer["secrets"] == [] and not (tmp_path / "new").exists()


# ---- children that misbehave


def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    begun = time.monotonic()

    with Child(command("while True: pass"), {}) as child, pytest.raises(VideoError) as caught:
        child.receive(0.3)

    assert caught.value.reason == "too-slow" and time.monotonic() - begun < 10
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_child_that_shows_life_may_take_its_time() -> None:
    script = """
        import time
        from service.media.messages import send
        for _ in range(6):
            time.sleep(0.25)
            send(1, {"alive": True})
        send(1, {"done": True})
    """

    with Child(command(script), {}) as child:
        assert child.receive(1.0) == {"done": True}


def test_a_child_may_ask_for_patience_once() -> None:
    script = """
        import time
        from service.media.child_main import Outlet
        outlet = Outlet(1)
        outlet.ask_for_patience(10)
        time.sleep(0.8)
        outlet.send({"done": True})
        time.sleep(20)
    """

    with Child(command(script), {}) as child:
        assert child.receive(0.5) == {"done": True}
        with pytest.raises(VideoError) as caught:
            child.receive(0.5)
    assert caught.value.reason == "too-slow"


@pytest.mark.parametrize("patience", ["'long'", "float('nan')", "-1", "None"])
def test_patience_that_is_no_number_of_seconds_is_not_given(patience: str) -> None:
    script = f"""
        import time
        from service.media.child_main import Outlet
        Outlet(1).ask_for_patience({patience})
        time.sleep(20)
    """
    with Child(command(script), {}) as child, pytest.raises(VideoError) as caught:
        child.receive(0.5)
    assert caught.value.reason == "too-slow"


def test_a_child_leaves_requests_to_stop_to_its_parent(tmp_path: Path) -> None:
    script = """
        import os, signal
        def work(request, outlet):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(os.getpid(), number)
            outlet.send({"done": True})
    """

    assert run_in_child(script, tmp_path) == {"done": True}


CHILDREN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "computes for ever": ("def work(r, o):\n while True: pass", "too-slow", {"cpu_seconds": 1}),
    "eats memory": (
        "def work(r, o):\n x = []\n while True: x.append(bytearray(1 << 24))",
        "too-much-memory",
        {"memory_bytes": 1 << 28},
    ),
    "crashes": ("import os\ndef work(r, o): os.kill(os.getpid(), 11)", "corrupt", {}),
    "is killed": ("import os\ndef work(r, o): os.kill(os.getpid(), 9)", "interrupted", {}),
    "is told to end before it listens": (
        "import os\nos.kill(os.getpid(), 15)\ndef work(r, o): o.send({'ok': 1})",
        "interrupted",
        {},
    ),
    "is refused memory by the system": ("def work(r, o): raise OSError(12, 'no memory')", "too-much-memory", {}),
    "says nothing": ("def work(r, o): pass", "corrupt", {}),
    "stumbles": ("def work(r, o): 1 / 0", "corrupt", {}),
    "talks nonsense": ("import os\ndef work(r, o): os.write(1, b'nonsense' * 100)", "corrupt", {}),
    "answers no object": ("import os\ndef work(r, o): os.write(1, b'\\x02\\0\\0\\0[]')", "corrupt", {}),
    "writes a file": (
        "def work(r, o):\n with open(r['folder'] + '/x', 'wb', 0) as f: f.write(b'x')\n o.send({'ok': 1})",
        "corrupt",
        {},
    ),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_what_goes_wrong_in_a_child_is_a_clear_error(name: str, tmp_path: Path) -> None:
    script, reason, limits = CHILDREN[name]

    with pytest.raises(VideoError) as caught:
        run_in_child(script, tmp_path, **limits)

    assert caught.value.reason == reason
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size == 0


@pytest.mark.parametrize("reason", get_args(VideoErrorReason))
def test_each_reason_is_a_problem_for_clients(reason: VideoErrorReason) -> None:
    problem = video_problem(VideoError(reason, "it is so"))

    assert (problem.kind, problem.detail) == (f"video-{reason}", "It is so.")
    assert (problem.status == 503) == (reason == "interrupted") == ("Retry-After" in problem.headers)


def test_a_real_file_meets_the_limits_of_time_and_memory(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "large.mp4", frames=4, size=(2560, 1440), options={"preset": "ultrafast"})
    info = probe_video(path)

    assert reason_of(path, VideoLimits(memory_bytes=120 << 20)) == "too-much-memory"
    assert reason_of(path, VideoLimits(probe_seconds=0.01)) == "too-slow"
    for limits, reason in (
        (VideoLimits(memory_bytes=120 << 20), "too-much-memory"),
        (VideoLimits(stall_seconds=0.01), "too-slow"),
    ):
        with pytest.raises(VideoError) as caught, VideoReader(path, info, limits) as reader:
            list(reader)
        assert caught.value.reason == reason


def test_a_file_that_is_not_what_was_probed_is_an_error(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=3)
    info = probe_video(path)
    path.write_text(json.dumps({"no": "video"}))

    with pytest.raises(VideoError), VideoReader(path, info) as reader:
        list(reader)


def test_names_of_any_kind_are_just_names(tmp_path: Path) -> None:
    names = ["-i.mp4", "http:clip.mp4", "concat:a|b.mp4", "späße 100%d\n.mp4", "fd:.mp4"]
    timestamps: Callable[[int], list[float]] = shifting_timestamps
    for name in names:
        made = make_clip(tmp_path / "made.mp4", frames=3, timestamps=timestamps(3))
        info, frames, _ = read_all(made.rename(tmp_path / name))
        assert info.frames == len(frames) == 3
