"""A skeleton of one's own, from its definition in JSON to a service that answers with its names."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import load_settings
from shared.bundle import Bundle, load_bundle
from shared.promotion import promote
from shared.skeleton import SKELETONS, load_skeleton
from tests import kite
from tests.api_client import PNG, PROBLEM
from tests.photos import encode
from trainer import export as exporting
from trainer.commands.records import data_sets, write_sets
from trainer.data.pipeline import PipelineOptions
from trainer.export_run import export_run
from trainer.fit import fit
from trainer.models import registry
from trainer.recipe import DataSource, Phase, Recipe

KITES = ((120.0, 110.0), (250.0, 130.0))
PICTURE = encode(kite.picture(384, 288, *KITES), "png")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run on records of kites; its network knows them beforehand, so that three small steps do."""
    data = tmp_path_factory.mktemp("data")
    skeleton = kite.write_definition(data)
    kite.write_dataset(data)
    recipe = Recipe(
        network="kite",
        sources=(DataSource("kites", "kites.json", "images"),),
        phases=(Phase(3, 1e-6, warmup=1),),
        skeleton=str(skeleton),
        pipeline=PipelineOptions(side=128, batch=2, max_people=2),
        log_every=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.NETWORKS, "kite", registry.Network(kite.build, kite.STRIDE))
        patch.setattr(exporting, "ASPECTS", ((4, 3),))  # one shape instead of five
        write_sets(data_sets(recipe.sources, str(data), str(data / "records")), recipe.skeleton, workers=1)
        fit(recipe, records=str(data / "records"), data=None, run=str(data / "kites"), tensorboard=False)
        yield data / "kites"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return export_run(str(run), long_sides=(384,))


@pytest.fixture(scope="module")
def client(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models_dir = tmp_path_factory.mktemp("models")
    promote(bundle.path, models_dir)
    settings = load_settings(model=("kite",), models_dir=models_dir, deadline=120, engine="litert", videos=False)
    with TestClient(create_app(settings), raise_server_exceptions=False) as running:
        yield running


def test_it_is_trained_on_its_own_keypoints(run: Path) -> None:
    losses = [json.loads(line)["loss"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert len(losses) == 3 and all(0 < loss < float("inf") for loss in losses)
    assert json.loads((run / "skeleton.json").read_text())["keypoints"] == list(kite.POINTS)


def test_the_bundle_needs_nothing_but_itself(bundle: Bundle, run: Path) -> None:
    assert "kite" not in SKELETONS
    assert load_bundle(bundle.path).skeleton == load_skeleton(str(run.parent / "kite.json"))


def test_people_have_the_skeletons_names(client: TestClient) -> None:
    frame = client.post("/pose", content=PICTURE, headers=PNG).json()
    assert len(frame["people"]) == 2
    for person, (x, y) in zip(sorted(frame["people"], key=lambda p: p["bbox"][0]), KITES, strict=True):
        assert list(person["keypoints"]) == ["tail", "left_tip", "right_tip", "top"]
        assert person["score"] > 0.5
        for name, (dx, dy) in kite.POINTS.items():
            found = person["keypoints"][name]
            assert (found["x"], found["y"]) == pytest.approx((x + dx, y + dy), abs=1.5), name


def test_the_model_tells_how_to_draw_it(client: TestClient) -> None:
    model = client.get("/models/kite").json()
    assert model["skeleton"] == "kite"
    assert model["topology"]["keypoints"] == ["tail", "left_tip", "right_tip", "top"]
    assert model["topology"]["bones"] == [[0, 3], [3, 1], [3, 2]]
    assert len(model["topology"]["colors"]) == 4


def test_it_is_drawn(client: TestClient) -> None:
    response = client.post("/pose?draw=true", content=PICTURE, headers=PNG | {"Accept": "image/png"})
    drawn = cv2.cvtColor(cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    x, y = (round(value) for value in KITES[0])
    assert drawn[y + 15, x].max() > 100  # on the limb from the tail to the top, where the picture is black


def test_the_fields_have_its_channels(client: TestClient) -> None:
    response = client.post("/pose?fields=true", content=PICTURE, headers=PNG)
    fields = np.load(io.BytesIO(response.content))
    assert (fields["heatmaps"].shape[-1], fields["pafs"].shape[-1]) == (4, 6)
    assert fields["keypoints"].tolist() == ["tail", "left_tip", "right_tip", "top"]


@pytest.mark.parametrize("layout", ["openpose", "coco"])
@pytest.mark.parametrize("path", ["/pose", "/pose/batch"])
def test_layouts_of_another_skeleton_are_refused(client: TestClient, layout: str, path: str) -> None:
    body: dict[str, Any] = {"files": {"images": ("kite.png", PICTURE)}} if "batch" in path else {"content": PICTURE}
    headers = {} if "batch" in path else PNG
    response = client.post(f"{path}?format={layout}", headers=headers, **body)
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert "the skeleton kite cannot be written in this layout; it needs body_18" in response.json()["detail"]


def test_the_command_line_refuses_them_too(client: TestClient, bundle: Bundle, tmp_path: Path) -> None:
    from shared.cli import main

    (tmp_path / "kite.png").write_bytes(PICTURE)
    promote(bundle.path, tmp_path / "models")
    place = ["--model", "kite", "--models-dir", str(tmp_path / "models"), "--engine", "litert"]
    command = ["pose", str(tmp_path / "kite.png"), "--json", str(tmp_path / "a.json"), *place]
    assert main([*command, "--format", "coco"]) == 2
    assert not (tmp_path / "a.json").exists()
    assert main(command) == 0
    assert set(json.loads((tmp_path / "a.json").read_text())["people"][0]["keypoints"]) == set(kite.POINTS)


def test_the_card_says_where_the_model_comes_from(bundle: Bundle, run: Path) -> None:
    card = (bundle.path / "model_card.md").read_text("utf-8")
    assert "kite (tail, left_tip, right_tip, top)" in card
    assert "kites (kites.json), 100%" in card
    assert "Steps: 3" in card
    assert f"yaop train fit --run {run.name}" in card
    assert json.loads((bundle.path / "recipe.json").read_text())["network"] == "kite"
