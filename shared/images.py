"""Encoded bytes to upright RGB pictures and back, within limits.

Everything that enters the product as a picture file comes through `decode_image`, so the service, the CLI
and the evaluation see the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageError, ImageErrorKind, YaopError
from shared.image_headers import FORMATS, ImageFormat, ImageHeader, corrupt, read_header, still_png, truncated

__all__ = ["ImageError", "ImageErrorKind", "ImageFormat", "RgbImage", "decode_image", "encode_image", "read_image"]

RgbImage = NDArray[np.uint8]
"""A picture, uint8 ``[height, width, 3]``, channels red, green, blue, upright."""

MAX_PIXELS = 50_000_000

_COLOR_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
# Which transposition, then which flip (cv2.flip's code), makes each EXIF orientation upright.
_TRANSPOSED = frozenset({5, 6, 7, 8})
_FLIP_CODE = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, formats: Sequence[ImageFormat] = FORMATS) -> RgbImage:
    """Decode a JPEG, PNG, WebP or BMP picture, whatever its name says, to upright RGB.

    EXIF orientation is applied; grey, palette and CMYK become RGB; 16 bits are scaled to 8; transparency is
    laid over white. Of an animation the first frame is taken.

    Args:
        data: the whole file.
        max_pixels: limit on width times height, checked against the header before anything is decoded.
        formats: those that are accepted.

    Returns:
        The picture, uint8 ``[height, width, 3]``.

    Raises:
        ImageError: with the kind of what is wrong.
    """
    header = read_header(data, formats)
    _check_size(header.width, header.height, max_pixels)
    if not header.complete:
        raise truncated(header.format)
    image = _decode(data, header)
    _check_size(image.shape[1], image.shape[0], max_pixels)
    return _upright(image, header.orientation)


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Read a picture file; see `decode_image`.

    Raises:
        ImageError: the content is not a usable picture; the message starts with the path.
        YaopError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise YaopError(f"{path}: {error.strerror or error}") from error
    try:
        return decode_image(data, max_pixels)
    except ImageError as error:
        raise ImageError(error.kind, f"{path}: {error}") from error


def encode_image(image: RgbImage, image_format: Literal["jpeg", "png"], quality: int = 90) -> bytes:
    """Encode an RGB picture uint8 ``[H, W, 3]``; `quality` 1 to 100 is JPEG's and ignored for PNG."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if image_format == "jpeg" else []
    done, encoded = cv2.imencode(f".{image_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise YaopError(f"the picture could not be written as {image_format}")
    return encoded.tobytes()


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            "too_large_pixels",
            f"the picture is {width} x {height} pixels ({width * height / 1e6:.1f} megapixels); "
            f"at most {max_pixels / 1e6:g} megapixels are accepted",
        )


def _decode(data: bytes, header: ImageHeader) -> RgbImage:
    # BMP's fourth byte is mostly padding, so only PNG and WebP are asked for their alpha and depth.
    as_stored = header.format in ("png", "webp")
    flags = cv2.IMREAD_UNCHANGED if as_stored else _COLOR_FLAGS
    if header.format == "png":
        data = still_png(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise corrupt(header.format, "it cannot be decoded") from error
    if image is None or image.size == 0:
        raise corrupt(header.format, "it cannot be decoded")
    return _to_rgb8(image) if as_stored else image


def _to_rgb8(stored: NDArray[Any]) -> RgbImage:
    """OpenCV's grey, BGR or BGRA picture of 8 or 16 bits to RGB of 8 bits."""
    image = cv2.convertScaleAbs(stored, alpha=255 / 65535) if stored.dtype == np.uint16 else stored
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 4:
        return _over_white(image)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _over_white(image: NDArray[np.uint8]) -> RgbImage:
    rgb = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    alpha = image[..., 3]
    if alpha.min() == 255:
        return rgb
    ink = cv2.multiply(cv2.bitwise_not(rgb), cv2.merge([alpha, alpha, alpha]), scale=1 / 255)
    return cv2.bitwise_not(ink)


def _upright(image: RgbImage, orientation: int) -> RgbImage:
    if orientation in _TRANSPOSED:
        image = cv2.transpose(image)
    if orientation in _FLIP_CODE:
        image = cv2.flip(image, _FLIP_CODE[orientation])
    return image
