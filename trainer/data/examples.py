"""A record and its picture as one `tf.train.Example`: what `trainer.data.pipeline` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from shared.geometry import resize_points
from shared.image_headers import read_header
from shared.images import RgbImage, decode_image, encode_image
from trainer.data.coco import Record
from trainer.data.masks import rasterise

JPEG_QUALITY = 95
"""Of pictures that cannot be stored as they are."""

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_COMMON_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive; the others nobody decodes


@dataclass(frozen=True)
class StoredPicture:
    """An upright JPEG, RGB or grey.

    Attributes:
        data: the file.
        size: width and height.
        upright: width and height of the picture it was made of.
    """

    data: bytes
    size: tuple[int, int]
    upright: tuple[int, int]


def store_picture(data: bytes, max_side: int) -> StoredPicture:
    """The picture file as it is stored: unchanged if any JPEG decoder reads it upright, encoded anew if not.

    Args:
        data: a picture file of any format that `decode_image` takes.
        max_side: a picture with a longer side is shrunk to it; 0 for none.

    Raises:
        ImageError: it cannot be decoded.
    """
    image = decode_image(data)
    upright = (image.shape[1], image.shape[0])
    small = _shrunk(image, max_side)
    if small is image and _is_plain_jpeg(data) and read_header(data).orientation == 1:
        return StoredPicture(data, upright, upright)
    return StoredPicture(encode_image(small, "jpeg", JPEG_QUALITY), (small.shape[1], small.shape[0]), upright)


def rescale(record: Record, size: tuple[int, int]) -> Record:
    """The record for its picture resized to `size` (width, height); segmentations keep the original's pixels."""
    if size == record.size:
        return record
    scale = np.array(size, np.float64) / record.size
    keypoints = record.keypoints.copy()
    labelled = keypoints[..., 2] > 0
    keypoints[..., :2] = np.where(labelled[..., None], resize_points(keypoints[..., :2], scale), 0)
    return replace(
        record,
        size=size,
        keypoints=keypoints,
        boxes=_rescale_boxes(record.boxes, scale),
        areas=(record.areas * scale.prod()).astype(np.float32),
        ignored=_rescale_boxes(record.ignored, scale),
    )


def to_example(record: Record, picture: StoredPicture) -> bytes:
    """The record as a serialised `tf.train.Example` with its picture and mask.

    Features: ``image/encoded`` (JPEG), ``image/width``, ``image/height``, ``image/name``; ``people/keypoints``
    ``N * K * 3`` floats, ``people/boxes`` ``N * 4``, ``people/areas`` ``N``; ``ignored/boxes`` ``M * 4``;
    ``keypoint_weights`` ``K``; ``only_labelled`` 0 or 1; ``mask/encoded``: PNG of one channel, as large as the
    picture, 255 where nothing is known, or nothing at all. Coordinates are in pixels of the stored picture.
    """
    import tensorflow as tf

    stored = rescale(record, picture.size)
    features = {
        "image/encoded": _bytes(picture.data),
        "image/width": _integer(picture.size[0]),
        "image/height": _integer(picture.size[1]),
        "image/name": _bytes(record.name.encode(errors="surrogateescape")),
        "people/keypoints": _floats(stored.keypoints),
        "people/boxes": _floats(stored.boxes),
        "people/areas": _floats(stored.areas),
        "ignored/boxes": _floats(stored.ignored),
        "keypoint_weights": _floats(stored.keypoint_weights),
        "only_labelled": _integer(int(stored.only_labelled)),
        "mask/encoded": _bytes(_mask(record, picture.size)),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _shrunk(image: RgbImage, max_side: int) -> RgbImage:
    height, width = image.shape[:2]
    if not max_side or max(width, height) <= max_side:
        return image
    scale = max_side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether the first frame says: a JPEG of 8 bits, grey or of three colours (CMYK has four)."""
    position = 2
    while data[:2] == b"\xff\xd8" and position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in _START_OF_FRAME:
            return marker in _COMMON_FRAMES and data[position + 4] == 8 and data[position + 9] in (1, 3)
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _rescale_boxes(boxes: Any, scale: Any) -> Any:
    corners = resize_points(boxes[:, :2], scale)
    return np.concatenate([corners, boxes[:, 2:] * scale], axis=1).astype(np.float32)


def _mask(record: Record, stored: tuple[int, int]) -> bytes:
    if not record.segmentations:
        return b""
    _, encoded = cv2.imencode(".png", rasterise(record.segmentations, record.size, stored))
    return encoded.tobytes()


def _bytes(value: bytes) -> Any:
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integer(value: int) -> Any:
    import tensorflow as tf

    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _floats(values: Any) -> Any:
    import tensorflow as tf

    flat: Sequence[float] = np.asarray(values, np.float32).ravel().tolist()
    return tf.train.Feature(float_list=tf.train.FloatList(value=flat))
