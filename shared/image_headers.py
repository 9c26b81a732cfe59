"""What the header of an encoded picture says, read without decoding a pixel.

The format comes from the first bytes, never from a name or a declared type. Sizes are the largest that
any header inside the file claims, so that a small outer header cannot hide a huge frame.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.errors import ImageError

ImageFormat = Literal["jpeg", "png", "webp", "bmp"]
FORMATS: tuple[ImageFormat, ...] = ("jpeg", "png", "webp", "bmp")

MAX_SEGMENTS = 100_000
MAX_JPEG_SCANS = 100
"""Progressive JPEGs have about ten scans; thousands of empty ones are a way to burn decoding time."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_BMP_INFO_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_OTHER_MAGICS = (
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"%PDF", "PDF"),
)


@dataclass(frozen=True)
class ImageHeader:
    """Facts about an encoded picture.

    Attributes:
        format: by magic bytes.
        width: in pixels as stored, before `orientation`; the largest any header in the file claims.
        height: likewise.
        orientation: EXIF orientation 1 to 8; 1 where there is none.
        complete: False if the file ends before its own structure says it should.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int
    complete: bool


def read_header(data: bytes, formats: Sequence[ImageFormat] = FORMATS) -> ImageHeader:
    """Sniff `data` and read its header.

    Raises:
        ImageError: empty, unsupported, corrupt, or truncated before the size is known.
    """
    if not data:
        raise ImageError("empty", "the image is empty (0 bytes)")
    image_format = sniff_format(data, formats)
    readers = {"jpeg": _read_jpeg, "png": _read_png, "webp": _read_webp, "bmp": _read_bmp}
    try:
        header = readers[image_format](data)
    except (struct.error, IndexError):
        raise truncated(image_format) from None
    if header.width <= 0 or header.height <= 0:
        raise corrupt(image_format, "its header gives no size")
    return header


def truncated(image_format: ImageFormat) -> ImageError:
    """The error for a file that stops short."""
    return ImageError("truncated", f"the {_label(image_format)} image is truncated: it ends before its data does")


def corrupt(image_format: ImageFormat, why: str) -> ImageError:
    """The error for a file that contradicts its own format."""
    return ImageError("corrupt", f"the {_label(image_format)} image is corrupt: {why}")


def _label(image_format: ImageFormat) -> str:
    return "WebP" if image_format == "webp" else image_format.upper()


def names_of(formats: Sequence[ImageFormat]) -> str:
    """The formats as a list to read: ``JPEG, PNG and WebP``."""
    *others, last = map(_label, formats)
    return f"{', '.join(others)} and {last}" if others else last


def sniff_format(data: bytes, formats: Sequence[ImageFormat] = FORMATS) -> ImageFormat:
    """The format by magic bytes.

    Raises:
        ImageError: kind ``unsupported``: none of `formats`; the text names it where it is known, and those accepted.
    """
    found = _format_of(data)
    if found is None or found not in formats:
        raise ImageError("unsupported", f"{_unsupported_text(data, found)} (accepted: {names_of(formats)})")
    return found


def _format_of(data: bytes) -> ImageFormat | None:
    if data.startswith(b"\xff\xd8"):
        return "jpeg"
    if data.startswith(_PNG_MAGIC):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_INFO_SIZES):
        return "bmp"
    return None


def _unsupported_text(data: bytes, found: ImageFormat | None) -> str:
    if found is not None:
        return f"{_label(found)} images are not accepted here"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        for brands, name in ((_HEIF_BRANDS, "HEIC"), (_AVIF_BRANDS, "AVIF")):
            if brand in brands:
                return f"{name} images are not accepted; convert the picture to JPEG"
    for magic, name in _OTHER_MAGICS:
        if data.startswith(magic):
            return f"{name} images are not accepted"
    return "the bytes are not an image of an accepted format"


def _exif_orientation(tiff: bytes) -> int:
    """Orientation in the first directory of a TIFF block; 1 if it is absent or the block is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


# The second byte of a JPEG marker; \x00 and \xff are stuffing and fill.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's payload up to and including the first start of scan."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        match = _JPEG_MARKER.search(data, position)
        if match is None:
            raise truncated("jpeg")
        marker, position = data[match.start() + 1], match.end()
        if marker in _JPEG_BARE:
            continue
        if marker in (_SOI, _EOI):
            raise corrupt("jpeg", "it holds no picture")
        (length,) = struct.unpack_from(">H", data, position)
        yield marker, position + 2, position + length
        if marker == _SOS:
            return
        position += max(length, 2)
    raise corrupt("jpeg", "it has too many segments")


def _read_jpeg(data: bytes) -> ImageHeader:
    width = height = 0
    orientation = None
    end = len(data)
    for marker, start, end in _jpeg_segments(data):
        if marker in _JPEG_SOF:
            rows, columns = struct.unpack_from(">HH", data, start + 1)
            width, height = max(width, columns), max(height, rows)
        elif marker == _APP1 and orientation is None and data[start : start + 6] == b"Exif\x00\x00":
            orientation = _exif_orientation(data[start + 6 : end])
    if data.count(b"\xff\xda", end) > MAX_JPEG_SCANS:
        raise corrupt("jpeg", f"it has more than {MAX_JPEG_SCANS} scans")
    # Inside entropy-coded data 0xFF is always followed by 0x00 or a restart marker, so a cut file has no EOI.
    return ImageHeader("jpeg", width, height, orientation or 1, data.find(b"\xff\xd9", end) >= 0)


_PNG_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each chunk's payload; `end` may lie beyond the data."""
    position = len(_PNG_MAGIC)
    for _ in range(MAX_SEGMENTS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position + 8, position + 8 + length
        position += 12 + length
    raise corrupt("png", "it has too many chunks")


def _read_png(data: bytes) -> ImageHeader:
    if len(data) >= 16 and data[12:16] != b"IHDR":
        raise corrupt("png", "it does not start with a header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    orientation, complete = 1, False
    for kind, start, end in _png_chunks(data):
        if kind == b"fcTL":
            frame_width, frame_height = struct.unpack_from(">II", data, start + 4)
            width, height = max(width, frame_width), max(height, frame_height)
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[start:end])
        elif kind == b"IEND":
            complete = end + 4 <= len(data)
            break
    return ImageHeader("png", width, height, orientation, complete)


def still_png(data: bytes) -> bytes:
    """The PNG file with nothing but what its picture needs.

    Animation chunks in the wrong order crash OpenCV 5.0's reader, and text, profiles and the like are only a
    surface to attack.
    """
    kept = [data[start - 8 : end + 4] for kind, start, end in _png_chunks(data) if kind in _PNG_NEEDED]
    return b"".join([_PNG_MAGIC, *kept])


def _riff_chunks(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of each RIFF chunk's payload between `start` and `end`."""
    for _ in range(MAX_SEGMENTS):
        if start + 8 > end:
            return
        kind, length = struct.unpack_from("<4sI", data, start)
        yield kind, start + 8, start + 8 + length
        start += 8 + length + length % 2
    raise corrupt("webp", "it has too many chunks")


def _uint24(data: bytes, start: int) -> int:
    low, high = struct.unpack_from("<HB", data, start)
    return low | high << 16


def _webp_sizes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Every width and height that the canvas, the frames and their bit streams claim."""
    for kind, begin, stop in _riff_chunks(data, start, end):
        if kind == b"VP8X":
            yield _uint24(data, begin + 4) + 1, _uint24(data, begin + 7) + 1
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, begin + 6)
            yield width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, begin + 1)
            yield (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"ANMF":
            yield _uint24(data, begin + 6) + 1, _uint24(data, begin + 9) + 1
            yield from _webp_sizes(data, begin + 16, min(stop, end))


def _read_webp(data: bytes) -> ImageHeader:
    (riff_size,) = struct.unpack_from("<I", data, 4)
    end = min(len(data), riff_size + 8)
    width = height = 0
    for columns, rows in _webp_sizes(data, 12, end):
        width, height = max(width, columns), max(height, rows)
    exif = next((data[a:b] for kind, a, b in _riff_chunks(data, 12, end) if kind == b"EXIF"), b"")
    orientation = _exif_orientation(exif.removeprefix(b"Exif\x00\x00"))
    return ImageHeader("webp", width, height, orientation, riff_size + 8 <= len(data))


def _read_bmp(data: bytes) -> ImageHeader:
    offset, info_size = struct.unpack_from("<II", data, 10)
    if info_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    row = (width * bits + 31) // 32 * 4
    run_length_coded = compression not in (0, 3, 6)
    complete = run_length_coded or offset + row * abs(height) <= len(data)
    return ImageHeader("bmp", width, abs(height), 1, complete)
