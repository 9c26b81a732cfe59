from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.errors import YaopError
from shared.images import ImageError, decode_image, encode_image, read_image
from tests import photos

Rgb = NDArray[np.uint8]


def gradient(width: int = 40, height: int = 24) -> Rgb:
    """A smooth picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    channels = (200 * x / max(width - 1, 1), 220 * y / max(height - 1, 1), 255 * ((x > width / 2) & (y > height / 2)))
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(image: Image.Image | Rgb, image_format: str, **options: object) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF block whose only entry is the orientation."""
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def jpeg_with_exif(jpeg: bytes, tiff: bytes) -> bytes:
    payload = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def riff_chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def kind_of(data: bytes, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, **options)
    return caught.value.kind


ALL_FORMATS = {
    "jpeg": encoded(gradient(), "JPEG", quality=95),
    "progressive": encoded(gradient(), "JPEG", quality=95, progressive=True),
    "png": encoded(gradient(), "PNG"),
    "webp": encoded(gradient(), "WEBP", quality=95),
    "lossless webp": encoded(gradient(), "WEBP", lossless=True),
    "bmp": encoded(gradient(), "BMP"),
}


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_each_accepted_format_gives_the_same_picture(name: str) -> None:
    image = decode_image(ALL_FORMATS[name])
    assert image.shape == (24, 40, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - gradient()).mean() < 6


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_orientation_is_applied(orientation: int, order: str) -> None:
    jpeg = jpeg_with_exif(encoded(gradient(), "JPEG", quality=95), exif(orientation, order))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg))))
    image = decode_image(jpeg)
    assert image.shape == expected.shape
    assert image.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))
    assert np.abs(image.astype(int) - expected).max() <= 4


def test_orientation_is_applied_to_png_and_webp_too() -> None:
    png = encoded(gradient(), "PNG")
    with_exif = png[:33] + png_chunk(b"eXIf", exif(6)) + png[33:]
    np.testing.assert_array_equal(decode_image(with_exif), np.rot90(gradient(), -1))
    lossless = encoded(gradient(), "WEBP", lossless=True, exif=b"Exif\x00\x00" + exif(3))
    np.testing.assert_array_equal(decode_image(lossless), gradient()[::-1, ::-1])


@pytest.mark.parametrize("tiff", [b"", b"II", b"II*\x00\xff\xff\xff\xff", exif(9), exif(0), exif(6)[:14]])
def test_damaged_exif_leaves_the_picture_as_stored(tiff: bytes) -> None:
    assert decode_image(jpeg_with_exif(ALL_FORMATS["jpeg"], tiff)).shape == (24, 40, 3)


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [("JPEG", "L"), ("JPEG", "CMYK"), *((name, mode) for name in ("PNG", "BMP") for mode in ("L", "P", "1", "RGB"))],
)
def test_other_colour_modes_become_rgb(image_format: str, mode: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    image = decode_image(encoded(picture, image_format))
    assert np.abs(image.astype(int) - np.asarray(picture.convert("RGB"))).mean() < 6


def test_transparency_is_laid_over_white() -> None:
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, 2:4, 3] = 128
    rgba[:, 4:, 3] = 255
    for image_format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        image = decode_image(encoded(Image.fromarray(rgba), image_format, **options))
        assert image[0, 0].tolist() == [255, 255, 255]
        np.testing.assert_allclose(image[0, 2], [227, 127, 127], atol=1)
        assert image[0, 5].tolist() == [200, 0, 0]


def test_transparent_palette_and_grey_with_alpha() -> None:
    palette = Image.fromarray(gradient()).quantize(8)
    corner = palette.getpixel((0, 0))
    assert decode_image(encoded(palette, "PNG", transparency=corner))[0, 0].tolist() == [255, 255, 255]
    grey = Image.merge("LA", [Image.new("L", (3, 3), 100), Image.new("L", (3, 3), 0)])
    assert decode_image(encoded(grey, "PNG")).min() == 255


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_to_eight(channels: int) -> None:
    values = np.array([[0, 257, 25700, 32768, 65535]], np.uint16)
    stored = np.repeat(values[..., None], channels, axis=2)
    if channels == 4:
        stored[..., 3] = 65535
    png = cv2.imencode(".png", stored[..., 0] if channels == 1 else stored)[1].tobytes()
    assert decode_image(png)[0, :, 0].tolist() == [0, 1, 100, 128, 255]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (3, 2)])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP"])
def test_extreme_sizes(width: int, height: int, image_format: str) -> None:
    assert decode_image(encoded(gradient(width, height), image_format)).shape == (height, width, 3)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    first, second = Image.fromarray(gradient()), Image.new("RGB", (40, 24), (9, 9, 9))
    for image_format in ("PNG", "WEBP"):
        data = encoded(first, image_format, save_all=True, append_images=[second], lossless=True)
        np.testing.assert_array_equal(decode_image(data), gradient())


# Found by mutation: the control chunk of the first frame is damaged.
BROKEN_ANIMATION = (
    "iVBORw0KGgoAAAANSUhEUgAAACgAAAAYCAIAAAAH5iiXAAAACGFjVEwAAAACAAAAAPONk3AAAAAaZGNUTAAAAAAAAAAoAAAAGAAA"
    "AAAAAAAAAAAAAQAAoZ2VaAAAAEZJREFUeJxjZGBgYMWG2GgpzsbAwMLAyTAggIWBa6AsHvUx3Swe9fHwt3jkBfWQ9fF/ci0esj4e"
    "ehaPvKAe9THdLB5p2QkAk38DARUZM1EAAAAaZmNUTAAAAAEAAAAoAAAAGAAAAAAAAAAAAAAAAQAAOu5/vAAAAC1mZEFUAAAAAnic"
    "7c1BEQAwCACgObV/ZVN4fqAAkdVIwj9ZxWKxWCwWi8XiFQOjrQA8ZJFUkwAAAABJRU5ErkJggg=="
)


def test_a_broken_animation_does_not_end_the_process() -> None:
    """OpenCV 5.0's reader of animated PNGs crashes on this file; it must not get to see it as one."""
    assert decode_image(base64.b64decode(BROKEN_ANIMATION)).shape == (24, 40, 3)


def test_empty_input() -> None:
    assert kind_of(b"") == "empty"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (encoded(gradient(), "GIF"), "GIF"),
        (encoded(gradient(), "TIFF"), "TIFF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC images .* convert the picture to JPEG"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1", "AVIF images .* convert the picture to JPEG"),
        (b"\x00\x00\x00\x18ftypisom", "not an image"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not an image"),
        (b"BMW is a maker of motor cars", "not an image"),
        (b"<html>", "not an image"),
        (b"\xff", "not an image"),
    ],
)  # fmt: skip
def test_other_formats_are_named_with_the_accepted_ones(data: bytes, word: str) -> None:
    with pytest.raises(ImageError, match=word) as caught:
        decode_image(data)
    assert caught.value.kind == "unsupported"
    assert "JPEG, PNG, WebP and BMP" in str(caught.value)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ALL_FORMATS)
def test_cut_files_are_called_truncated(name: str, share: float) -> None:
    data = ALL_FORMATS[name]
    assert kind_of(data[: int(len(data) * share)]) == "truncated"


@pytest.mark.parametrize("name", ["jpeg", "progressive"])
def test_a_jpeg_whose_missing_end_was_filled_with_zeros_is_truncated(name: str) -> None:
    data = ALL_FORMATS[name]
    assert kind_of(data[: len(data) * 2 // 3] + bytes(500)) == "truncated"


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_bytes_after_the_end_do_no_harm(name: str) -> None:
    np.testing.assert_array_equal(decode_image(ALL_FORMATS[name] + bytes(99)), decode_image(ALL_FORMATS[name]))


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_the_limit_on_pixels_is_exact(name: str) -> None:
    assert decode_image(ALL_FORMATS[name], max_pixels=40 * 24).shape == (24, 40, 3)
    assert kind_of(ALL_FORMATS[name], max_pixels=40 * 24 - 1) == "too_large_pixels"


def huge_jpeg() -> bytes:
    return _with_sof_size(ALL_FORMATS["jpeg"], 9000, 9000)


def _with_sof_size(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def _vp8l(width: int, height: int) -> bytes:
    return riff_chunk(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(20))


def _canvas(width: int, height: int) -> bytes:
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    return riff_chunk(b"VP8X", b"\x02\x00\x00\x00" + sides)


def _frame(width: int, height: int, stream: bytes) -> bytes:
    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    return riff_chunk(b"ANMF", bytes(6) + sides + bytes(4) + stream)


def second_size_in_jpeg() -> bytes:
    jpeg = ALL_FORMATS["jpeg"]
    at = jpeg.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", jpeg, at + 2)
    segment = jpeg[at : at + 2 + length]
    return jpeg[:at] + segment + _with_sof_size(segment + bytes(9), 9000, 9000)[: len(segment)] + jpeg[at:]


@pytest.mark.parametrize(
    "data",
    [
        huge_jpeg(),
        second_size_in_jpeg(),
        huge_png(),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 999, 0, 0, 54, 40, 9000, -9000, 1, 24, 0, 0, 0, 0, 0, 0),
        webp(_vp8l(9000, 9000)),
        webp(riff_chunk(b"VP8 ", b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 9000, 9000) + bytes(20))),
        webp(_canvas(9000, 9000), _vp8l(8, 8)),
        webp(_canvas(8, 8), _vp8l(9000, 9000)),
        webp(_canvas(8, 8), _frame(9000, 9000, _vp8l(8, 8))),
        webp(_canvas(8, 8), _frame(8, 8, _vp8l(9000, 9000))),
    ],
    ids=["jpeg", "jpeg-2nd-size", "png", "bmp", "vp8l", "vp8", "canvas", "stream", "frame", "stream-in-frame"],
)
def test_a_huge_picture_is_refused_by_its_header(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*arguments: object) -> None:
        raise AssertionError("a huge picture was given to the decoder")

    monkeypatch.setattr(cv2, "imdecode", decoded)
    with pytest.raises(ImageError, match=r"9000 x 9000 pixels \(81.0 megapixels\); at most 50 megapixels") as caught:
        decode_image(data)
    assert caught.value.kind == "too_large_pixels"


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    jpeg = ALL_FORMATS["progressive"]
    at = jpeg.rindex(b"\xff\xda")
    assert kind_of(jpeg[:at] + jpeg[at:-2] * 2000 + jpeg[-2:]) == "corrupt"


def test_noise_after_a_magic_number_is_corrupt_or_truncated() -> None:
    noise = random.Random(1).randbytes(4000)
    for magic in (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\xff\x00\x00\x00WEBP",
        b"BM" + bytes(12) + b"\x28\x00\x00\x00",
    ):
        assert kind_of(magic + noise) in {"corrupt", "truncated", "too_large_pixels"}


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_mutated_files_decode_or_fail_cleanly(name: str) -> None:
    generator = random.Random(name)
    for _ in range(150):
        data = mutate(ALL_FORMATS[name], generator)
        try:
            image = decode_image(data, max_pixels=1_000_000)
        except ImageError:
            continue
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[0] * image.shape[1] <= 1_000_000


def mutate(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(min(len(changed), generator.choice((60, len(changed)))))
        action = generator.randrange(4)
        if action == 0:
            changed[at] = generator.randrange(256)
        elif action == 1:
            changed[at] ^= 1 << generator.randrange(8)
        elif action == 2:
            del changed[at : at + generator.randint(1, 20)]
        else:
            changed[at:at] = generator.randbytes(generator.randint(1, 8))
        if not changed:
            break
    return bytes(changed)


def test_files_are_read_with_their_path_in_the_error(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.txt", tmp_path / "b.jpg"
    good.write_bytes(ALL_FORMATS["png"])
    bad.write_bytes(b"nothing")
    np.testing.assert_array_equal(read_image(good), gradient())
    with pytest.raises(ImageError, match=r"b\.jpg: the bytes are not an image") as caught:
        read_image(bad)
    assert caught.value.kind == "unsupported"
    with pytest.raises(YaopError, match=r"c\.jpg: No such file"):
        read_image(tmp_path / "c.jpg")


def test_encoded_pictures_come_back() -> None:
    np.testing.assert_array_equal(decode_image(encode_image(gradient(), "png")), gradient())
    small, large = (encode_image(gradient(), "jpeg", quality=quality) for quality in (10, 95))
    assert len(small) < len(large)
    assert np.abs(decode_image(large).astype(int) - gradient()).mean() < 6


@pytest.mark.parametrize("kind", ["png", "bmp"])
def test_formats_can_be_limited(kind: Literal["png", "bmp"]) -> None:
    small = np.zeros((2, 3, 3), np.uint8)
    assert decode_image(photos.encode(small, "webp"), formats=("jpeg", "webp")).shape == (2, 3, 3)
    with pytest.raises(ImageError, match=r"not accepted here \(accepted: JPEG and WebP\)") as refused:
        decode_image(photos.encode(small, kind), formats=("jpeg", "webp"))
    assert refused.value.kind == "unsupported"
    with pytest.raises(ImageError, match=r"\(accepted: WebP\)"):
        decode_image(b"GIF89a", formats=("webp",))
