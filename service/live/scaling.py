"""What is sent of a picture, and its people back in pixels of the picture itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.live.picture import Pixels
from shared.geometry import Box, Letterbox, resize_points
from shared.images import encode_image
from shared.schema import Frame, Keypoint, Person

_OVER = 1.5  # of the network's input: the service gets a picture that it shrinks itself, and nothing is lost
_QUALITIES = (85, 60, 35)
_DIGITS = 2


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int


def sent_size(source: Size, resolution: int) -> Size:
    """The size that a picture is sent in: 1.5 times the network's long side, and never larger than it is."""
    scale = min(1.0, _OVER * resolution / max(source))
    return Size(max(1, round(source.width * scale)), max(1, round(source.height * scale)))


def encode(pixels: Pixels, size: Size, most_bytes: int) -> bytes:
    """The picture in this size, as JPEG: of lower quality if it had more bytes, which the worst still may have."""
    box = Letterbox(Box(0, 0, pixels.width, pixels.height), size, (size.height, size.width))
    image = pixels.letterboxed(box)[0]
    best, *others = _QUALITIES
    data = encode_image(image, "jpeg", best)
    for quality in others:
        if len(data) > most_bytes:
            data = encode_image(image, "jpeg", quality)
    return data


def to_source(frame: Frame, source: Size) -> Frame:
    """A result of a picture that was sent smaller, in pixels of the picture itself."""
    if (frame.width, frame.height) == source:
        return frame
    scale = np.array([source.width / frame.width, source.height / frame.height])
    people = [_scaled(person, scale[0], scale[1]) for person in frame.people]
    return frame.model_copy(update={"width": source.width, "height": source.height, "people": people})


def _scaled(person: Person, across: float, down: float) -> Person:
    points = {
        name: point and Keypoint(x=_moved(point.x, across), y=_moved(point.y, down), score=point.score)
        for name, point in person.keypoints.items()
    }
    x, y, width, height = person.bbox
    if any(points.values()):
        x, y, width, height = _moved(x, across), _moved(y, down), width * across, height * down
    box = (x, y, round(width, _DIGITS), round(height, _DIGITS))
    return person.model_copy(update={"bbox": box, "keypoints": points})


def _moved(value: float, scale: float) -> float:
    return round(float(resize_points(np.array(value), scale)), _DIGITS)
