"""Clips at their own speed and cameras on the network, decoded for real."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.client.errors import ClientError
from service.live.clip import Clip
from service.live.network import NetworkCamera
from service.live.picture import Picture
from shared.errors import YaopError
from shared.geometry import Box, Letterbox
from shared.images import RgbImage, encode_image
from tests.clips import index_in, make_clip, pattern
from tests.mjpeg_server import mjpeg_camera
from tests.rtsp_server import rtsp_camera

SIZE = (160, 120)


def rgb(picture: Picture) -> RgbImage:
    width, height = picture.pixels.width, picture.pixels.height
    return picture.pixels.letterboxed(Letterbox(Box(0, 0, width, height), (width, height), (height, width)))[0]


def shown(picture: Picture) -> int:
    """The number of the frame that `pattern` drew."""
    return index_in(rgb(picture))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half, without B-frames."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=45, size=SIZE, b_frames=0)


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    draw = pattern(SIZE)
    return [encode_image(draw(index), "jpeg") for index in range(10)]


def test_a_clip_gives_all_its_pictures_at_its_own_speed(clip: Path) -> None:
    start = time.monotonic()
    taken = list(Clip(clip).pictures())
    assert [(picture.index, shown(picture)) for picture in taken] == [(index, index) for index in range(45)]
    assert [picture.timestamp for picture in taken] == pytest.approx([index / 30 for index in range(45)])
    assert 44 / 30 <= time.monotonic() - start < 10
    spans = [picture.taken - taken[0].taken - picture.timestamp for picture in taken]
    assert np.median(spans) > -0.1  # the first may be late; none of the others is early for that


@pytest.mark.parametrize(("rotation", "mirrored"), [(90, False), (180, False), (270, True)])
def test_a_clip_is_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    left, right = (220, 30, 30), (30, 30, 220)

    def halves(_: int) -> RgbImage:
        image = np.zeros((120, 160, 3), np.uint8)
        image[:, :80], image[:, 80:] = left, right
        return image

    path = make_clip(tmp_path / "clip.mp4", frames=2, size=SIZE, picture=halves, rotation=rotation, mirrored=mirrored)
    clip = Clip(path)
    image = rgb(next(iter(clip.pictures())))
    clip.stop()
    expected = np.rot90(np.fliplr(halves(0)) if mirrored else halves(0), -rotation // 90)
    assert image.shape == expected.shape
    assert clip.size == image.shape[1::-1]
    assert np.abs(image.astype(int) - expected).mean() < 12


def test_a_clip_may_be_stopped_from_another_thread_at_any_time(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "slides.mp4", frames=2, size=SIZE, timestamps=[0.0, 500.0])
    clip = Clip(path)
    playing = clip.pictures()
    assert next(playing).index == 0
    clip.stop()
    assert list(playing) == []
    assert list(clip.pictures()) == []  # a stopped clip is not started again


@pytest.mark.parametrize("content", [b"", b"no video", b"#EXTM3U\nhttp://127.0.0.1:1/secret.ts\n"])
def test_what_is_no_video_is_told_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(YaopError, match=r"clip\.mp4: "):
        Clip(path)


def test_an_http_camera_gives_its_pictures_and_is_asked_again_when_it_ends(pictures: list[bytes]) -> None:
    notes: list[str] = []
    with mjpeg_camera(pictures) as server:
        camera = NetworkCamera(f"{server.url}/stream", notes.append)
        taken = list(itertools.islice(stopped(camera, 15), 15))
        assert server.plays == 2
    assert [shown(picture) for picture in taken] == [*range(10), *range(5)]
    assert [picture.index for picture in taken] == list(range(15))
    times = [picture.timestamp for picture in taken]
    assert times == sorted(times)
    assert len(notes) == 1
    assert notes[0].startswith(f"{server.url}: ")
    assert "trying again in" in notes[0]


def stopped(camera: NetworkCamera, count: int) -> Iterator[Picture]:
    for number, picture in enumerate(camera.pictures(), 1):
        yield picture
        if number == count:
            camera.stop()


def test_a_silent_camera_is_asked_again(pictures: list[bytes]) -> None:
    notes: list[str] = []
    with mjpeg_camera(pictures[:4], stays=True) as server:
        camera = NetworkCamera(f"{server.url}/stream", notes.append, stall_seconds=1)
        assert [shown(picture) for picture in stopped(camera, 6)] == [0, 1, 2, 3, 0, 1]
    assert "it gives no pictures for 1 s; trying again" in notes[0]


def test_an_rtsp_camera_gives_its_pictures(clip: Path) -> None:
    with rtsp_camera(clip, login="me:secret") as server:
        address = server.url.replace("//", "//me:secret@")
        taken = list(stopped(NetworkCamera(address, print), 40))
    assert [shown(picture) for picture in taken] == list(range(40))
    assert [picture.index for picture in taken] == list(range(40))
    assert [picture.timestamp for picture in taken] == pytest.approx([index / 30 for index in range(40)], abs=0.04)


def test_an_rtsp_camera_comes_back(clip: Path) -> None:
    notes: list[str] = []
    with rtsp_camera(clip) as server:
        taken = list(stopped(NetworkCamera(server.url, notes.append), 60))
        assert server.plays == 2
    assert [shown(picture) for picture in taken[-5:]] == list(range(10, 15))
    times = [picture.timestamp for picture in taken]
    assert times == sorted(set(times))
    assert times[45] - times[44] > times[44] - times[43]  # there was a pause
    assert len(notes) == 1


def test_a_camera_that_stays_away_is_given_up(pictures: list[bytes]) -> None:
    notes: list[str] = []
    with mjpeg_camera(pictures[:3], fps=100) as server:
        taking = NetworkCamera(f"{server.url}/stream", notes.append, patience=1).pictures()
        first = [next(taking) for _ in range(3)]
    assert [shown(picture) for picture in first] == [0, 1, 2]
    with pytest.raises(ClientError, match=r"http://127\.0\.0\.1:\d+: "):
        next(taking)
    assert notes


def test_a_clip_over_http_is_played_at_its_own_speed_and_ends(clip: Path) -> None:
    with mjpeg_camera([], files={"/clip.mp4": clip.read_bytes()}) as server:
        taken = list(NetworkCamera(f"{server.url}/clip.mp4", print).pictures())
    assert [shown(picture) for picture in taken] == list(range(45))
    assert taken[-1].taken - taken[0].taken >= 1.2


def test_a_camera_may_be_stopped_while_it_is_silent(pictures: list[bytes]) -> None:
    with mjpeg_camera(pictures[:1], stays=True) as server:
        camera = NetworkCamera(f"{server.url}/stream", print)
        playing = camera.pictures()
        assert next(playing).index == 0
        start = time.monotonic()
        camera.stop()
        assert list(playing) == []
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nothing", "it has nothing at this path"),
        ("/noise", "it sends no video that can be read"),
        ("/list.m3u8", "it "),
    ],
)
def test_what_is_no_camera_is_told_at_once_without_the_password(path: str, message: str) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    query = "?token=secret"
    with mjpeg_camera([], files={f"/noise{query}": b"noise" * 1000, f"/list.m3u8{query}": playlist}) as server:
        address = f"{server.url}{path}{query}".replace("//", "//me:secret@")
        with pytest.raises(ClientError, match=message) as caught:
            list(NetworkCamera(address, print).pictures())
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("login", ["", "me:wrong-secret@"])
def test_a_wrong_login_is_told_without_it(clip: Path, login: str) -> None:
    with rtsp_camera(clip, login="me:secret") as server:
        address = server.url.replace("//", f"//{login}")
        with pytest.raises(ClientError, match="it asks for a user and a password, or those given are wrong") as caught:
            list(NetworkCamera(address, print).pictures())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///etc/passwd", "file:// addresses are not opened"),
        ("ftp://me:secret@host/clip.mp4", "ftp:// addresses are not opened; those of cameras begin with rtsp://"),
        ("rtsp:///stream", "names no host"),
        ("http://me:secret@host:99999999/", "not valid"),
    ],
)
def test_addresses_of_other_kinds_are_refused(address: str, message: str) -> None:
    with pytest.raises(YaopError, match=message) as caught:
        NetworkCamera(address, print)
    assert "secret" not in str(caught.value)


def test_nobody_there_is_told_at_once() -> None:
    with pytest.raises(ClientError, match=r"rtsp://127\.0\.0\.1:1: connection refused"):
        list(NetworkCamera("rtsp://127.0.0.1:1/live", print).pictures())
