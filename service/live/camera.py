"""A camera of this machine."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from service.live.picture import BgrPixels, Picture
from shared.errors import YaopError

if TYPE_CHECKING:
    import cv2

_DEVICES = Path("/dev")
_FAILURES = 5  # in a row: a cable that shakes loses one, a camera that is gone all


class CameraError(YaopError):
    """A camera that cannot be used."""


class Camera:
    """Gives the pictures of a camera as it takes them.

    Args:
        name: an index, e.g. ``0``, or the path of a device.

    Attributes:
        size: width and height of its pictures.

    Raises:
        CameraError: there is no such camera, it may not be used, or another program uses it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._stopped = threading.Event()
        self._taking = False
        device = _device(name)
        if device is not None:
            _check_device(name, device)
        self._capture = _opened(int(name) if name.isdecimal() else name)
        image = self._read()
        if image is None:
            self._capture.release()
            raise CameraError(f"camera {name} gives no pictures; is another program using it?")
        self.size: tuple[int, int] | None = (image.width, image.height)

    def pictures(self) -> Iterator[Picture]:
        """The pictures from now on, to `stop`.

        Raises:
            CameraError: it was unplugged, or stopped working.
        """
        start, index, failures = time.monotonic(), 0, 0
        self._taking = True
        try:
            while not self._stopped.is_set():
                pixels = self._read()
                if pixels is not None:
                    now, failures = time.monotonic(), 0
                    yield Picture(index, now - start, pixels, now)
                    index += 1
                    continue
                failures += 1
                device = _device(self._name)
                if failures == _FAILURES or (device is not None and not device.exists()):
                    raise CameraError(f"camera {self._name} gives no more pictures; was it unplugged?")
        finally:
            self._capture.release()

    def stop(self) -> None:
        """End `pictures` with the picture that is being taken, which lets go of the camera."""
        self._stopped.set()
        if not self._taking:
            self._capture.release()

    def _read(self) -> BgrPixels | None:
        done, image = self._capture.read()
        return BgrPixels(np.asarray(image, np.uint8)) if done and image is not None else None


def _device(name: str) -> Path | None:
    if not name.isdecimal():
        return Path(name)
    return _DEVICES / f"video{name}" if sys.platform == "linux" else None


def _check_device(name: str, device: Path) -> None:
    if not device.exists():
        there = sorted(_DEVICES.glob("video*"), key=_number)
        found = f"there are {', '.join(map(str, there))}" if there else "no camera was found on this machine"
        raise CameraError(f"there is no camera {name}; {found}")
    if not device.is_char_device():
        raise CameraError(f"{name} is no camera; a video is played with --file")
    if not os.access(device, os.R_OK | os.W_OK):
        raise CameraError(f"camera {name} may not be used: no permission for {device} (the group `video` has it)")


def _number(device: Path) -> int:
    found = re.search(r"\d+$", device.name)
    return int(found.group()) if found else -1


def _opened(name: int | str) -> cv2.VideoCapture:
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would write to the terminal by itself
    capture = cv2.VideoCapture(name)
    if not capture.isOpened():
        capture.release()
        raise CameraError(f"camera {name} cannot be opened; is another program using it?")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not the oldest of four
    return capture
