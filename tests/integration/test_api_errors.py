"""What bad input gets: a problem that says what was wrong and what would be right, never a traceback."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from tests.api_client import JPEG, PNG, PROBLEM, serving, serving_async
from tests.fake_engine import DiscEngine, discs, person_at
from tests.photos import encode

PICTURE = encode(discs(320, 240, person_at(160, 120)), "jpeg")
IMAGE_TYPES = ["image/jpeg", "image/png", "image/webp", "image/bmp"]


def png_header(width: int, height: int) -> bytes:
    """A PNG of this size by its header, with next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving() as running:
        yield running


def assert_problem(response: Any, status: int, kind: str, *words: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:yaop:problem:{kind}"
    assert problem["title"]
    assert problem["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in problem["detail"]
    assert "Traceback" not in response.text
    return problem


def test_an_empty_body(client: TestClient) -> None:
    problem = assert_problem(client.post("/pose", content=b"", headers=JPEG), 400, "empty-body", "empty")
    assert problem["accepted"] == IMAGE_TYPES
    assert_problem(client.post("/pose"), 400, "empty-body")
    assert_problem(client.post("/pose", files={"image": ("a.jpg", b"")}), 400, "empty-image")


@pytest.mark.parametrize("data", [b"hello", b"<svg/>", b"\x00" * 100, b"GIF89a" + b"\0" * 20, b"%PDF-1.7"])
def test_not_an_image(client: TestClient, data: bytes) -> None:
    problem = assert_problem(client.post("/pose", content=data, headers=JPEG), 415, "unsupported-image", "JPEG")
    assert problem["accepted"] == IMAGE_TYPES
    assert_problem(client.post("/pose", files={"image": ("a.jpg", data)}), 415, "unsupported-image")


@pytest.mark.parametrize(("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_phone_formats_are_named_with_what_to_convert_to(client: TestClient, brand: bytes, name: str) -> None:
    data = b"\x00\x00\x00\x18ftyp" + brand + b"\x00" * 40
    for headers in (JPEG, {"Content-Type": f"image/{name.lower()}"}):
        response = client.post("/pose", content=data, headers=headers)
        assert_problem(response, 415, "unsupported-image", name, "convert", "JPEG")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp"])
def test_a_truncated_image(client: TestClient, kind: Any, kept: float) -> None:
    data = encode(discs(320, 240, person_at(160, 120)), kind)
    response = client.post("/pose", content=data[: int(len(data) * kept)], headers=JPEG)
    assert_problem(response, 400, "truncated-image", "truncated")


def test_a_corrupt_image(client: TestClient) -> None:
    assert_problem(client.post("/pose", content=png_header(100, 100), headers=PNG), 400, "corrupt-image", "corrupt")


@pytest.mark.parametrize(
    "declared", ["text/plain", "application/json", "application/x-www-form-urlencoded", "video/mp4"]
)
def test_a_wrong_content_type_is_told_the_accepted_ones(client: TestClient, declared: str) -> None:
    response = client.post("/pose", content=PICTURE, headers={"Content-Type": declared})
    problem = assert_problem(response, 415, "unsupported-media-type", declared, "image/jpeg", "multipart/form-data")
    assert set(IMAGE_TYPES) < set(problem["accepted"])


def test_a_batch_must_be_multipart(client: TestClient) -> None:
    response = client.post("/pose/batch", content=PICTURE, headers=JPEG)
    assert_problem(response, 415, "unsupported-media-type", "multipart/form-data")


@pytest.mark.parametrize("path", ["/pose", "/pose/batch"])
def test_malformed_multipart(client: TestClient, path: str) -> None:
    def post(content: bytes, declared: str = "multipart/form-data; boundary=x") -> Any:
        return client.post(path, content=content, headers={"Content-Type": declared})

    assert_problem(post(b"--x", "multipart/form-data"), 400, "malformed-multipart", "boundary")
    assert_problem(post(b"--y\r\nnonsense"), 400, "malformed-multipart")
    assert_problem(post(b""), 400, "empty-body")
    name = path.removeprefix("/pose").replace("/batch", "images") or "image"
    cut = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nabc'.encode()
    assert_problem(post(cut), 400, "malformed-multipart", "closing boundary")


def test_a_part_of_another_name_is_told_the_right_one(client: TestClient) -> None:
    assert_problem(client.post("/pose", files={"photo": PICTURE}), 400, "missing-part", "image", "photo")
    assert_problem(client.post("/pose/batch", files={"image": PICTURE}), 400, "missing-part", "images")


def test_two_images_belong_in_a_batch(client: TestClient) -> None:
    response = client.post("/pose", files=[("image", PICTURE), ("image", PICTURE)])
    assert_problem(response, 413, "too-many-pictures", "/pose/batch")


def test_a_batch_of_exactly_the_limit_passes_and_one_more_does_not() -> None:
    with serving(max_batch_images=3) as client:
        at_limit = client.post("/pose/batch", files=[("images", PICTURE)] * 3)
        assert len(at_limit.json()["results"]) == 3
        assert_problem(client.post("/pose/batch", files=[("images", PICTURE)] * 4), 413, "too-many-pictures", "3")


def test_a_flood_of_tiny_parts_is_refused(client: TestClient) -> None:
    response = client.post("/pose", files=[("x", b"")] * 1000)
    assert_problem(response, 413, "too-many-parts")


def padded(size: int) -> bytes:
    return PICTURE + b"\0" * (size - len(PICTURE))


def chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not(chunked: bool) -> None:
    limit = 20_000
    with serving(max_body_bytes=limit) as client:

        def post(size: int) -> Any:
            return client.post("/pose", content=chunks(padded(size)) if chunked else padded(size), headers=JPEG)

        assert post(limit).status_code == 200
        problem = assert_problem(post(limit + 1), 413, "body-too-large", "the limit of 20 kB")
        assert problem["limit_bytes"] == limit


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/pose", "/pose/batch"])
def test_the_limit_holds_for_multipart_bodies(path: str, chunked: bool) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n'
    head = head % (b"images" if path.endswith("batch") else b"image")
    tail = b"\r\n--x--\r\n"
    limit = 20_000
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with serving(max_body_bytes=limit) as client:

        def post(size: int) -> Any:
            body = head + padded(size - len(head) - len(tail)) + tail
            return client.post(path, content=chunks(body) if chunked else body, headers=headers)

        assert post(limit).status_code == 200
        assert_problem(post(limit + 1), 413, "body-too-large")


def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"\0" * 1000

    async def post() -> httpx.Response:
        async with serving_async(max_body_bytes=20_000) as client:
            return await client.post("/pose", content=endless(), headers=JPEG)

    assert_problem(asyncio.run(post()), 413, "body-too-large")
    assert taken <= 22


def test_a_picture_of_exactly_the_most_pixels_passes_and_one_row_more_does_not() -> None:
    with serving(max_pixels=200 * 100) as client:
        at_limit = client.post("/pose", content=encode(discs(200, 100, {}), "png"), headers=PNG)
        over = client.post("/pose", content=encode(discs(200, 101, {}), "png"), headers=PNG)
    assert at_limit.status_code == 200
    assert_problem(over, 413, "picture-too-large", "200 x 101")


def test_pixels_are_counted_by_the_header_before_anything_is_decoded(client: TestClient) -> None:
    # 50,010,000 pixels that would take 150 MB; the file itself has none of them.
    response = client.post("/pose", content=png_header(10_002, 5_000), headers=PNG)
    assert_problem(response, 413, "picture-too-large", "10002 x 5000", "50")
    allowed = client.post("/pose", content=png_header(10_000, 5_000), headers=PNG)
    assert_problem(allowed, 400, "corrupt-image")


@pytest.mark.parametrize(
    ("query", "name", "words"),
    [
        ("format=xml", "format", ("'native'", "'openpose'", "'coco'")),
        ("resolution=huge", "resolution", ("fast", "balanced", "accurate", "128", "1024")),
        ("resolution=127", "resolution", ("128",)),
        ("resolution=1025", "resolution", ("1024",)),
        ("min_score=1.1", "min_score", ("1",)),
        ("min_score=-0.1", "min_score", ("0",)),
        ("min_score=nan", "min_score", ("finite",)),
        ("min_score=x", "min_score", ("number",)),
        ("max_people=0", "max_people", ("1",)),
        ("max_people=101", "max_people", ("100",)),
        ("flip=maybe", "flip", ("true", "false")),
        ("draw=maybe", "draw", ("true", "false")),
        ("fields=2", "fields", ("true", "false")),
        ("roi=1,2,3", "roi", ("x,y,width,height",)),
        ("roi=1,2,0,3", "roi", ("at least 1",)),
        ("roi=5000,0,10,10", "roi", ("320 x 240",)),
        ("model=vgg", "model", ("discs",)),
        ("image_id=-1", "image_id", ("0",)),
        ("size=3", "size", ("format", "resolution", "min_score")),
    ],
)
def test_unknown_query_values_are_told_the_valid_ones(
    client: TestClient, query: str, name: str, words: tuple[str, ...]
) -> None:
    response = client.post(f"/pose?{query}", content=PICTURE, headers=JPEG)
    problem = assert_problem(response, 422, "invalid-parameters", name, *words)
    assert [error["name"] for error in problem["errors"]] == [name]


def test_all_wrong_parameters_are_told_at_once(client: TestClient) -> None:
    response = client.post("/pose?format=xml&flip=maybe", content=PICTURE, headers=JPEG)
    assert {error["name"] for error in response.json()["errors"]} == {"format", "flip"}


def test_a_long_wrong_value_is_not_echoed_whole(client: TestClient) -> None:
    response = client.post(f"/pose?format={'x' * 5000}", content=PICTURE, headers=JPEG)
    assert response.status_code == 422
    assert len(response.content) < 1000


def test_draw_and_fields_exclude_each_other(client: TestClient) -> None:
    response = client.post("/pose?draw=true&fields=true", content=PICTURE, headers=JPEG)
    assert_problem(response, 422, "invalid-parameters", "draw and fields")


@pytest.mark.parametrize("query", ["draw=true", "fields=true"])
def test_a_batch_takes_no_parameter_of_a_single_picture(client: TestClient, query: str) -> None:
    assert_problem(client.post(f"/pose/batch?{query}", files={"images": PICTURE}), 422, "invalid-parameters")


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert_problem(client.get("/nothing/here"), 404, "not-found", "/nothing/here")
    assert_problem(client.get("/models/vgg"), 404, "model-not-found", "discs")
    refused = client.get("/pose")
    assert_problem(refused, 405, "method-not-allowed", "POST")
    assert refused.headers["allow"] == "POST"
    assert_problem(client.get("/static/../app.py"), 404, "not-found")
    assert_problem(client.get("/static/missing.js"), 404, "not-found")


def test_an_engine_that_fails_costs_only_the_requests_it_failed_on() -> None:
    engine = DiscEngine()
    with serving(engine) as client:
        engine.failure = RuntimeError("secret detail")
        response = client.post("/pose", content=PICTURE, headers=JPEG)
        assert_problem(response, 500, "engine-failed")
        assert "secret" not in response.text
        engine.failure = None
        assert client.post("/pose", content=PICTURE, headers=JPEG).status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_a_bug_gets_a_plain_problem(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr("service.pipeline.prepare", broken)
    response = client.post("/pose", content=PICTURE, headers=JPEG)
    assert_problem(response, 500, "internal-error")
    assert "secret" not in response.text
    assert_problem(client.post("/pose/batch", files={"images": PICTURE}), 500, "internal-error")
