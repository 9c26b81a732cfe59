"""Models, health, metrics, request ids, documentation, and the files of the page."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import SettingsError, load_settings
from tests.api_client import JPEG, build, metric, serving
from tests.fake_engine import SHAPES, DiscEngine, discs, person_at
from tests.photos import encode

PICTURE = encode(discs(320, 240, person_at(160, 120)), "jpeg")


def test_the_models_are_listed_with_their_engines() -> None:
    with serving() as client:
        assert client.get("/models").json() == {
            "models": [{"name": "discs", "version": "1.2.3", "default": True, "engine": "fake"}]
        }


def test_a_model_shows_its_manifest_and_how_to_draw_its_skeleton() -> None:
    with serving() as client:
        model = client.get("/models/discs").json()
    assert (model["name"], model["skeleton"], model["stride"], model["licence"]) == (
        "discs",
        "body_18",
        4,
        "Apache-2.0",
    )
    assert [tuple(shape) for shape in model["shapes"]] == list(SHAPES)
    topology = model["topology"]
    assert topology["keypoints"][:2] == ["nose", "neck"]
    assert (len(topology["limbs"]), len(topology["bones"]), len(topology["colors"])) == (19, 17, 18)


def test_health_follows_the_life_of_the_application() -> None:
    engine = DiscEngine()
    with serving(engine) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
        assert client.get("/health/ready").json() == {"status": "ready", "models": ["discs"]}
        client.app.state.runtime.batcher.close()  # type: ignore[attr-defined]
        refused = client.get("/health/ready")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post("/pose", content=PICTURE, headers=JPEG).status_code == 503
        assert client.get("/health/live").status_code == 200
    assert engine.closed


def test_the_default_resolutions_shapes_are_warmed_up_at_the_start() -> None:
    engine = DiscEngine()
    with serving(engine):
        assert engine.warmed == [shape for shape in SHAPES if max(shape) == 384]


def test_metrics_move() -> None:
    watched = {
        'yaop_requests_total{method="POST",route="/pose",status="200"}': 2,
        'yaop_requests_total{method="POST",route="/pose",status="415"}': 1,
        'yaop_request_seconds_count{route="/pose"}': 3,
        'yaop_pictures_total{model="discs",outcome="ok"}': 2,
        'yaop_pictures_total{model="discs",outcome="unsupported-image"}': 1,
        'yaop_people_total{model="discs"}': 2,
        'yaop_phase_seconds_count{phase="network"}': 2,
        "yaop_engine_call_seconds_count": 2,
        "yaop_batch_size_sum": 2,
        "yaop_queue_depth": 0,
        "yaop_pictures_in_progress": 0,
    }
    with serving() as client:
        assert all(metric(client, name) == 0 for name in watched)
        for data in (PICTURE, PICTURE, b"no picture"):
            client.post("/pose", content=data, headers=JPEG)
        assert {name: metric(client, name) for name in watched} == watched


def test_unknown_paths_and_methods_do_not_grow_the_metrics() -> None:
    with serving() as client:
        for i in range(5):
            client.get(f"/guess/{i}")
            client.request(f"M{i}", "/")
        text = client.get("/metrics").text
    assert "/guess" not in text
    assert 'route="unmatched",status="404"} 5.0' in text
    assert 'method="M' not in text


def test_metrics_of_two_applications_are_apart() -> None:
    with serving() as first, serving() as second:
        first.post("/pose", content=PICTURE, headers=JPEG)
        assert metric(second, 'yaop_pictures_total{model="discs",outcome="ok"}') == 0


@pytest.mark.parametrize("path", ["/health/live", "/pose", "/nothing"])
def test_every_answer_has_a_request_id_of_its_own(path: str) -> None:
    with serving() as client:
        identities = {client.get(path).headers["x-request-id"] for _ in range(3)}
    assert len(identities) == 3


def test_a_sane_request_id_is_echoed_and_another_is_replaced() -> None:
    with serving() as client:

        def echoed(given: str) -> str:
            return client.get("/health/live", headers={"X-Request-ID": given}).headers["x-request-id"]

        assert echoed("trace-01:ab.c_D") == "trace-01:ab.c_D"
        for insane in ("", "a b", "x" * 129, "<script>", "a;b"):
            assert re.fullmatch("[0-9a-f]{32}", echoed(insane))


def test_each_request_is_logged_once_with_its_id_and_without_its_picture(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    with serving() as client:
        client.post("/pose?format=coco", content=PICTURE, headers=JPEG | {"X-Request-ID": "abc"})
        client.get("/health/live")
    lines = [record for record in caplog.records if record.name == "service.access"]
    assert len(lines) == 1
    line: Any = lines[0]
    assert (line.method, line.path, line.status, line.bytes_in) == ("POST", "/pose", 200, len(PICTURE))
    assert line.duration_ms > 0


def test_openapi_has_a_real_example_for_every_answer() -> None:
    with serving() as client:
        document = client.get("/openapi.json").json()
    for path in ("/pose", "/pose/batch"):
        responses = document["paths"][path]["post"]["responses"]
        assert set(responses) == {"200", "400", "413", "415", "422", "500", "503"}
        for status, response in responses.items():
            if status == "200":
                continue
            ((media, content),) = response["content"].items()
            assert media == "application/problem+json"
            for example in content["examples"].values():
                assert example["value"]["status"] == int(status)
                assert example["value"]["detail"]
    assert "HTTPValidationError" not in json.dumps(document)
    body = document["paths"]["/pose"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/jpeg", "image/png", "image/webp", "image/bmp"} <= set(body)


def test_openapi_examples_are_what_the_schemas_say() -> None:
    from service.api.examples import BATCH_EXAMPLE, COCO_EXAMPLE, FRAME_EXAMPLE, OPENPOSE_EXAMPLE
    from service.api.pose import BatchResult
    from shared.schema import CocoResult, Frame, OpenPoseFrame

    Frame.model_validate(FRAME_EXAMPLE)
    OpenPoseFrame.model_validate(OPENPOSE_EXAMPLE)
    CocoResult.model_validate(COCO_EXAMPLE[0])
    BatchResult.model_validate(BATCH_EXAMPLE)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/static/app.js", "text/javascript"),
        ("/static/style.css", "text/css"),
        ("/static/icon.svg", "image/svg+xml"),
        ("/static/swagger/swagger-ui-bundle.js", "text/javascript"),
        ("/favicon.ico", "image/svg+xml"),
    ],
)
def test_the_pages_files_are_served(path: str, kind: str) -> None:
    with serving() as client:
        response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)


def test_the_pages_refer_to_nothing_outside() -> None:
    with serving() as client:
        for path in ("/", "/docs"):
            response = client.get(path)
            assert "default-src 'none'" in response.headers["content-security-policy"]
            for reference in re.findall(r'(?:src|href)="([^"]+)"', response.text):
                assert reference.startswith("/")
                assert client.get(reference).status_code == 200, reference


def test_a_model_that_is_not_there_stops_the_start(tmp_path: Any) -> None:
    app = create_app(load_settings(model="no_such_model", models_dir=tmp_path))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pytest.fail("it started")

    with pytest.raises(SettingsError, match=r"YAOP_MODEL=no_such_model"):
        asyncio.run(start())


def test_the_application_can_be_started_twice() -> None:
    app = build()
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/pose", content=PICTURE, headers=JPEG).status_code == 200
