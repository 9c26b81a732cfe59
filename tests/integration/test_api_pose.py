"""What POST /pose answers to good pictures."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.api_client import JPEG, PNG, serving
from tests.fake_engine import DiscEngine, Points, discs, person_at
from tests.photos import encode

PERSON = person_at(300, 200)
PNG_PERSON = encode(discs(640, 480, PERSON), "png")


def assert_found(frame: dict[str, Any], expected: Points, within: float = 1.0) -> None:
    assert len(frame["people"]) == 1
    keypoints = frame["people"][0]["keypoints"]
    for name, (x, y) in expected.items():
        assert keypoints[name]["x"] == pytest.approx(x, abs=within), name
        assert keypoints[name]["y"] == pytest.approx(y, abs=within), name


def jpeg_with_orientation(image: Any, orientation: int) -> bytes:
    jpeg = encode(image, "jpeg")
    tiff = (
        b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0]) + b"\0" * 4
    )
    payload = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + jpeg[2:]


def test_a_raw_body_gives_the_people_in_pixels_of_the_picture() -> None:
    with serving() as client:
        response = client.post("/pose", content=PNG_PERSON, headers=PNG)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    frame = response.json()
    assert (frame["width"], frame["height"], frame["index"], frame["timestamp"]) == (640, 480, 0, 0.0)
    assert frame["model"] == {"name": "discs", "version": "1.2.3"}
    assert frame["people"][0]["id"] is None
    assert frame["people"][0]["keypoints"]["left_ankle"] is None
    assert_found(frame, PERSON)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp"])
def test_every_format_is_read_raw_and_as_a_part(kind: Any) -> None:
    data = encode(discs(640, 480, PERSON), kind)
    with serving() as client:
        raw = client.post("/pose", content=data, headers={"Content-Type": f"image/{kind}"})
        part = client.post("/pose", files={"image": (f"photo.{kind}", data)})
    assert_found(raw.json(), PERSON, within=1.5)
    assert_found(part.json(), PERSON, within=1.5)


@pytest.mark.parametrize("declared", ["application/octet-stream", "image/gif", "IMAGE/JPEG; q=1", None])
def test_the_bytes_decide_what_a_raw_picture_is(declared: str | None) -> None:
    headers = {"Content-Type": declared} if declared else {}
    with serving() as client:
        assert_found(client.post("/pose", content=PNG_PERSON, headers=headers).json(), PERSON)


@pytest.mark.parametrize("part", [("a.txt", PNG_PERSON, "text/plain"), ("", PNG_PERSON), (None, PNG_PERSON)])
def test_name_and_type_of_a_part_do_not_matter(part: Any) -> None:
    with serving() as client:
        assert_found(client.post("/pose", files={"image": part}).json(), PERSON)


def test_other_parts_are_ignored() -> None:
    with serving() as client:
        response = client.post("/pose", data={"note": "hello"}, files={"image": ("a.png", PNG_PERSON)})
    assert_found(response.json(), PERSON)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coordinates_are_those_of_the_upright_picture(orientation: int) -> None:
    upright = discs(640, 480, PERSON)
    stored = {
        1: upright,
        2: cv2.flip(upright, 1),
        3: cv2.rotate(upright, cv2.ROTATE_180),
        4: cv2.flip(upright, 0),
        5: cv2.transpose(upright),
        6: cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE),
        7: cv2.rotate(cv2.transpose(upright), cv2.ROTATE_180),
        8: cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE),
    }[orientation]
    with serving() as client:
        frame = client.post("/pose", content=jpeg_with_orientation(stored, orientation), headers=JPEG).json()
    assert (frame["width"], frame["height"]) == (640, 480)
    assert_found(frame, PERSON, within=1.5)


def test_a_region_limits_the_search_and_keeps_the_pictures_coordinates() -> None:
    image = encode(discs(640, 480, person_at(500, 300, size=50)), "png")
    with serving() as client:
        inside = client.post("/pose?roi=420,200,200,200", content=image, headers=PNG).json()
        outside = client.post("/pose?roi=0,0,200,200", content=image, headers=PNG).json()
        over_the_edge = client.post("/pose?roi=420,-50,2000,2000", content=image, headers=PNG).json()
    assert_found(inside, person_at(500, 300, size=50))
    assert (inside["width"], inside["height"]) == (640, 480)
    assert outside["people"] == []
    assert_found(over_the_edge, person_at(500, 300, size=50))


def test_nobody_in_the_picture_is_an_empty_list() -> None:
    nobody = encode(discs(320, 240, {}), "jpeg")
    with serving() as client:
        for query, expected in (("", None), ("?format=coco", []), ("?format=openpose", {"version": 1.3, "people": []})):
            response = client.post(f"/pose{query}", content=nobody, headers=JPEG)
            assert response.status_code == 200
            assert response.json() == expected or response.json()["people"] == []


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 3), (7, 2000)])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_extreme_shapes_work(size: tuple[int, int], kind: Any) -> None:
    image = encode(discs(*size, {}), kind)
    with serving() as client:
        for query in ("", "?draw=true", "?flip=true", "?fields=true"):
            assert client.post(f"/pose{query}", content=image, headers=PNG).status_code == 200


def test_grey_alpha_palette_and_16_bit_pictures_work() -> None:
    grey = cv2.imencode(".png", np.full((40, 60), 90, np.uint8))[1].tobytes()
    alpha = cv2.imencode(".png", np.full((40, 60, 4), 90, np.uint8))[1].tobytes()
    deep = cv2.imencode(".png", np.full((40, 60, 3), 40_000, np.uint16))[1].tobytes()
    with serving() as client:
        for data in (grey, alpha, deep):
            frame = client.post("/pose", content=data, headers=PNG).json()
            assert (frame["width"], frame["height"]) == (60, 40)


def test_coco_results_are_a_bare_list_with_the_given_image_id() -> None:
    with serving() as client:
        plain = client.post("/pose?format=coco", content=PNG_PERSON, headers=PNG).json()
        named = client.post("/pose?format=coco&image_id=139", content=PNG_PERSON, headers=PNG).json()
    assert [result["image_id"] for result in (*plain, *named)] == [0, 139]
    assert plain[0]["category_id"] == 1
    assert len(plain[0]["keypoints"]) == 51
    assert plain[0]["keypoints"][:3] == pytest.approx([*PERSON["nose"], 0.9], abs=1)


def test_openpose_results_have_54_numbers_per_person() -> None:
    with serving() as client:
        result = client.post("/pose?format=openpose", content=PNG_PERSON, headers=PNG).json()
    assert result["version"] == 1.3
    numbers = result["people"][0]["pose_keypoints_2d"]
    assert len(numbers) == 54
    assert numbers[3:6] == pytest.approx([*PERSON["neck"], 0.9], abs=1)


def test_the_least_score_defaults_to_none_for_coco_only() -> None:
    # A person of three of 18 keypoints, one of them the neck, scores 2 x 0.9 x 0.9 / 17: above 0.05, under 0.2.
    with serving() as client:

        def count(query: str) -> int:
            answer = client.post(f"/pose?{query}", content=PNG_PERSON, headers=PNG).json()
            return len(answer if isinstance(answer, list) else answer["people"])

        assert [count(""), count("min_score=0.2"), count("min_score=0.08")] == [1, 0, 1]
        assert [count("format=coco"), count("format=coco&min_score=0.2")] == [1, 0]


@pytest.mark.parametrize(
    ("resolution", "shape"), [("fast", (192, 256)), ("balanced", (288, 384)), ("300", (288, 384)), ("256", (192, 256))]
)
def test_the_resolution_is_the_long_side_of_the_networks_input(resolution: str, shape: tuple[int, int]) -> None:
    engine = DiscEngine()
    with serving(engine) as client:
        frame = client.post(f"/pose?resolution={resolution}", content=PNG_PERSON, headers=PNG).json()
    assert engine.calls == [(1, *shape, 3)]
    assert_found(frame, PERSON, within=1.5)


def test_flip_looks_at_the_mirror_image_too() -> None:
    engine = DiscEngine()
    with serving(engine) as client:
        response = client.post("/pose?flip=true", content=PNG_PERSON, headers=PNG)
    assert engine.calls == [(2, 288, 384, 3)]
    nose = response.json()["people"][0]["keypoints"]["nose"]
    assert (nose["x"], nose["y"]) == pytest.approx(PERSON["nose"], abs=1)


def test_timings_say_where_the_time_went() -> None:
    with serving() as client:
        response = client.post("/pose", content=PNG_PERSON, headers=PNG)
    timing = response.json()["timing_ms"]
    assert set(timing) == {"decode", "queue", "network", "assembly", "total"}
    assert all(value >= 0 for value in timing.values())
    assert sum(value for phase, value in timing.items() if phase != "total") == pytest.approx(timing["total"], rel=0.01)
    assert "network;dur=" in response.headers["server-timing"]


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("?draw=true", "*/*", "jpeg"),
        ("?draw=true", "image/png", "png"),
        ("", "image/jpeg", "jpeg"),
        ("", "image/png", "png"),
    ],
)
def test_an_overlay_is_the_picture_with_the_people_drawn_on_it(query: str, accept: str, kind: str) -> None:
    with serving() as client:
        response = client.post(f"/pose{query}", content=PNG_PERSON, headers=PNG | {"Accept": accept})
    assert response.headers["content-type"] == f"image/{kind}"
    overlay = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    assert overlay is not None
    assert overlay.shape == (480, 640, 3)
    changed = np.abs(overlay.astype(int) - discs(640, 480, PERSON)[..., ::-1]).max(axis=-1) > 60
    assert changed[195:206, 250:290].any()  # the limb between neck and shoulder
    assert not changed[300:].any()


def test_draw_false_wins_over_the_accept_header() -> None:
    with serving() as client:
        response = client.post("/pose?draw=false", content=PNG_PERSON, headers=PNG | {"Accept": "image/png"})
    assert response.headers["content-type"] == "application/json"


def test_fields_are_an_archive_that_can_be_read_back_into_the_picture() -> None:
    with serving() as client:
        response = client.post("/pose?fields=true&roi=100,40,400,300", content=PNG_PERSON, headers=PNG)
    assert response.headers["content-disposition"] == 'attachment; filename="fields.npz"'
    with np.load(io.BytesIO(response.content)) as archive:
        fields = dict(archive)
    assert fields["heatmaps"].shape == (72, 96, 18)
    assert fields["pafs"].shape == (72, 96, 38)
    assert fields["region"].tolist() == [100, 40, 400, 300]
    assert fields["picture"].tolist() == [640, 480]
    neck = fields["keypoints"].tolist().index("neck")
    row, column = np.argwhere(fields["heatmaps"][..., neck] > 0.9).mean(axis=0)
    scale = fields["size"][0] / fields["region"][2]
    x = ((column + 0.5) * fields["stride"]) / scale + fields["region"][0] - 0.5
    y = ((row + 0.5) * fields["stride"]) / scale + fields["region"][1] - 0.5
    assert (x, y) == pytest.approx(PERSON["neck"], abs=3)


def test_a_model_is_selected_by_its_name() -> None:
    with serving() as client:
        assert client.post("/pose?model=discs", content=PNG_PERSON, headers=PNG).json()["model"]["name"] == "discs"


def batch(client: TestClient, *parts: tuple[str, bytes], query: str = "") -> Any:
    return client.post(f"/pose/batch{query}", files=[("images", part) for part in parts])


def test_a_batch_gives_one_result_or_problem_each_in_order() -> None:
    positions = [(150 + 20 * i, 150 + 10 * i) for i in range(8)]
    parts = [(f"{i}.png", encode(discs(640, 480, person_at(*xy)), "png")) for i, xy in enumerate(positions)]
    parts.insert(3, ("notes.txt", b"no picture"))
    parts.insert(6, ("empty.png", b""))
    with serving() as client:
        response = batch(client, *parts)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [item["filename"] for item in results] == [name for name, _ in parts]
    assert [item["problem"]["status"] if item["problem"] else 200 for item in results] == [
        200, 200, 200, 415, 200, 200, 400, 200, 200, 200,
    ]  # fmt: skip
    found = [item["result"] for item in results if item["result"]]
    for frame, xy in zip(found, positions, strict=True):
        assert_found(frame, person_at(*xy))
    assert [frame["index"] for frame in found] == [0, 1, 2, 4, 5, 7, 8, 9]


def test_a_batch_in_coco_layout_counts_the_image_ids_on() -> None:
    with serving() as client:
        results = batch(client, ("a", PNG_PERSON), ("b", PNG_PERSON), query="?format=coco&image_id=7").json()["results"]
    assert [item["result"][0]["image_id"] for item in results] == [7, 8]


def test_a_batch_shares_engine_calls() -> None:
    engine = DiscEngine()
    with serving(engine, workers=8) as client:
        batch(client, *[(str(i), PNG_PERSON) for i in range(16)])
    assert sum(shape[0] for shape in engine.calls) == 16
    assert len(engine.calls) < 16
