"""Cameras: what OpenCV does is scripted, because a machine that tests seldom has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from service.live.camera import Camera, CameraError
from service.live.source import Capture
from shared.geometry import Box, Letterbox
from tests.fake_engine import discs, person_at

PICTURE = np.ascontiguousarray(discs(64, 48, person_at(32, 30, 15), 4)[..., ::-1])


class Device:
    """In place of `cv2.VideoCapture`: gives these pictures (None: it fails), then the last one for ever."""

    def __init__(self, *answers: NDArray[np.uint8] | None, opens: bool = True) -> None:
        self.answers = list(answers)
        self.opens = opens
        self.name: Any = None
        self.released = 0

    def __call__(self, name: int | str) -> Device:
        self.name = name
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer is not None, answer

    def set(self, *_: float) -> bool:
        return False

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of devices with camera 0 in it."""
    monkeypatch.setattr("service.live.camera._DEVICES", tmp_path)
    (tmp_path / "video0").symlink_to("/dev/null")
    return tmp_path


def plug(monkeypatch: pytest.MonkeyPatch, *answers: NDArray[np.uint8] | None, opens: bool = True) -> Device:
    device = Device(*answers, opens=opens)
    monkeypatch.setattr(cv2, "VideoCapture", device)
    return device


def test_a_camera_gives_its_pictures_in_the_right_colours(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = plug(monkeypatch, PICTURE)
    camera = Camera("0")
    assert (device.name, camera.size) == (0, (64, 48))
    pictures = camera.pictures()
    first, second = next(pictures), next(pictures)
    assert (first.index, second.index) == (0, 1)
    assert 0 <= first.timestamp < second.timestamp
    whole = Letterbox(Box(0, 0, 64, 48), (64, 48), (48, 64))
    assert (first.pixels.letterboxed(whole)[0] == PICTURE[..., ::-1]).all()
    camera.stop()
    assert list(pictures) == []
    assert device.released == 1


def test_a_camera_may_be_named_by_its_path(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = plug(monkeypatch, PICTURE)
    Camera(str(devices / "video0")).stop()
    assert (device.name, device.released) == (str(devices / "video0"), 1)


def test_a_picture_that_is_lost_is_passed_over(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, PICTURE, PICTURE, None, None, PICTURE)
    pictures = Camera("0").pictures()
    assert [next(pictures).index for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("vanishes", [True, False])
def test_a_camera_that_is_unplugged_is_told_and_let_go(
    devices: Path, monkeypatch: pytest.MonkeyPatch, vanishes: bool
) -> None:
    device = plug(monkeypatch, PICTURE, PICTURE, None)
    capture = Capture(Camera("0"))
    if vanishes:
        (devices / "video0").unlink()
    with capture:
        capture.start()
        while not capture.slot.ended:
            capture.slot.take(60)
    with pytest.raises(CameraError, match="camera 0 gives no more pictures; was it unplugged"):
        capture.slot.raise_failure()
    assert device.released == 1


def test_a_capture_that_stops_lets_the_camera_go(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = plug(monkeypatch, PICTURE)
    with Capture(Camera("0")) as capture:
        capture.start()
        assert capture.slot.take(60) is not None
    assert device.released == 1
    while not capture.slot.ended:
        capture.slot.take(0)
    capture.slot.raise_failure()


def test_a_camera_that_is_not_there_is_told_with_those_that_are(devices: Path) -> None:
    (devices / "video10").symlink_to("/dev/null")
    with pytest.raises(CameraError, match=r"there is no camera 7; there are .*video0, .*video10$"):
        Camera("7")


def test_a_machine_without_cameras_says_so(devices: Path) -> None:
    (devices / "video0").unlink()
    with pytest.raises(CameraError, match="there is no camera 0; no camera was found on this machine"):
        Camera("0")


def test_a_file_is_no_camera(devices: Path) -> None:
    (devices / "clip.mp4").write_bytes(b"video")
    with pytest.raises(CameraError, match=r"clip\.mp4 is no camera; a video is played with --file"):
        Camera(str(devices / "clip.mp4"))


def test_a_camera_that_may_not_be_used_says_so(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(CameraError, match="camera 0 may not be used: no permission"):
        Camera("0")


@pytest.mark.parametrize(("opens", "message"), [(False, "cannot be opened"), (True, "gives no pictures")])
def test_a_camera_that_is_busy_is_told_and_let_go(
    devices: Path, monkeypatch: pytest.MonkeyPatch, opens: bool, message: str
) -> None:
    device = plug(monkeypatch, None, opens=opens)
    with pytest.raises(CameraError, match=f"camera 0 {message}; is another program using it"):
        Camera("0")
    assert device.released == 1


def test_opencv_keeps_quiet(devices: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraError, match="cannot be opened"):
        Camera(str(devices / "video0"))
    assert capfd.readouterr() == ("", "")
