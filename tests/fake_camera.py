"""A camera for Chromium: a clip that the browser plays over and over in place of a device.

Chromium reads Y4M (not compressed, planes of 4:2:0) and nothing that FFmpeg says about colours, so it is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2

from tests.clips import Picture, disc_neck, people_picture
from tests.fake_engine import discs, person_at
from tests.photos import Image


def camera_flags(clip: Path) -> tuple[str, ...]:
    """Arguments of a Chromium whose only camera plays this clip, and which asks nobody for leave."""
    return (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
    )


def write_y4m(path: Path, pictures: Iterable[Image], fps: float = 30) -> Path:
    """Write pictures (RGB uint8 ``[H, W, 3]``, even sizes, all alike) as a Y4M file; returns its path."""
    rate = Fraction(fps).limit_denominator(1001)
    with path.open("wb") as out:
        for index, picture in enumerate(pictures):
            if index == 0:
                height, width = picture.shape[:2]
                out.write(f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip A1:1 C420\n".encode())
            out.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


def people_camera(path: Path, seconds: float = 4.0, size: tuple[int, int] = (640, 480), fps: float = 30) -> Path:
    """Photographs of two people that drift to and fro, without a jump where the clip starts again."""
    return write_y4m(path, _there_and_back(people_picture(size, fps), round(seconds * fps)), fps)


def discs_camera(path: Path, frames: int = 60, size: tuple[int, int] = (640, 480), fps: float = 30) -> Path:
    """One person made of discs, which `tests.fake_engine.DiscEngine` finds."""

    def picture(index: int) -> Image:
        return discs(*size, person_at(*disc_neck(index, size), size=min(size) / 3), max(4, min(size) // 12))

    return write_y4m(path, _there_and_back(picture, frames), fps)


def _there_and_back(picture: Picture, frames: int) -> Iterator[Image]:
    half = frames // 2
    for index in range(frames):
        yield picture(min(index, 2 * half - index))
