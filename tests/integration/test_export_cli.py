"""`yaop train export`: from a run or from weights, how the LiteRT file is stored, what is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from shared.bundle import Bundle, load_bundle
from shared.errors import YaopError
from shared.inference.engine import load_engine
from shared.skeleton import load_skeleton
from tests import kite
from trainer import export as exporting
from trainer.commands.export import export, parse_long_sides
from trainer.models import registry
from trainer.quantization import Verdict
from trainer.recipe import DataSource, Phase, Recipe

app = typer.Typer()
app.command()(export)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run as training leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "kites"
    folder.mkdir()
    skeleton = str(kite.write_definition(folder.parent))
    sources = (DataSource("kites", "kites.json", "images"),)
    recipe = Recipe(network="kite", sources=sources, phases=(Phase(3, 1e-6),), skeleton=skeleton)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.NETWORKS, "kite", registry.Network(kite.build, kite.STRIDE))
        patch.setattr(exporting, "ASPECTS", ((4, 3),))  # one shape instead of five
        kite.build(load_skeleton(skeleton)).save_weights(folder / "final.weights.h5")
        (folder / "recipe.json").write_text(json.dumps(recipe.to_json()))
        yield folder


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: Any) -> str:
    done = call(*arguments)
    assert isinstance(done.exception, YaopError), done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


def types_of(bundle: Bundle) -> dict[str, set[int]]:
    """Types of the tensors in the first graph that runs the network, and in the first of the decoder alone."""
    from ai_edge_litert import schema_py_generated as schema

    assert bundle.litert
    model: Any = schema.ModelT.InitFromPackedBuf(bundle.litert.read_bytes(), 0)
    graphs = {s.signatureKey.decode().partition("_")[0]: model.subgraphs[s.subgraphIndex] for s in model.signatureDefs}
    return {task: {tensor.type for tensor in graphs[task].tensors} for task in ("fields", "decode")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    kite.write_dataset(folder)
    return folder


def judged_by(data: Path) -> list[Any]:
    return ["--annotations", data / "kites.json", "--images", data / "images"]


def test_a_run_is_exported_into_its_own_folder(run: Path) -> None:
    done = call(run, "--resolution", "64", "--litert", "float32", "--version", "7", "--name", "kites")
    assert done.exit_code == 0, done.output
    assert f"wrote {run / 'bundle'}" in done.output
    bundle = load_bundle(run / "bundle")
    assert (bundle.manifest.name, bundle.manifest.version) == ("kites", "7")
    assert {max(shape) for shape in bundle.manifest.shapes} == {64}
    from ai_edge_litert import schema_py_generated as schema

    assert schema.TensorType.FLOAT16 not in types_of(bundle)["fields"]
    assert "float32" in (bundle.path / "model_card.md").read_text("utf-8")


@pytest.mark.parametrize("calibrated", [False, True], ids=["weights alone", "with calibration"])
def test_int8_is_kept_if_it_finds_as_much(run: Path, data: Path, tmp_path: Path, calibrated: bool) -> None:
    from ai_edge_litert import schema_py_generated as schema

    calibration = ["--calibration", data / "images"] if calibrated else []
    done = call(run, tmp_path / "b", "--resolution", "384", "--litert", "int8", *calibration, *judged_by(data))
    assert done.exit_code == 0, done.output
    assert "int8: AP 1.000, float32: AP 1.000: kept" in done.output
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.litert_weights == "int8"
    types = types_of(bundle)
    assert schema.TensorType.INT8 in types["fields"] or not calibrated
    assert schema.TensorType.INT8 not in types["decode"]
    fields = load_engine(bundle, "litert").fields(kite.picture(384, 288, (150, 140))[None])
    assert fields.heatmaps.max() > 0.9


def test_int8_that_costs_too_much_gives_way_to_float16(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "judge", lambda bundle, held_out: Verdict(exact=0.5, quantised=0.489))
    done = call(run, tmp_path / "b", "--resolution", "384", "--litert", "int8", *judged_by(data))
    assert done.exit_code == 0, done.output
    assert "int8: AP 0.489, float32: AP 0.500: not kept" in done.output
    assert load_bundle(tmp_path / "b").manifest.litert_weights == "float16"


def test_one_ap_may_be_lost_and_no_more() -> None:
    assert Verdict(exact=0.5, quantised=0.4901).kept
    assert not Verdict(exact=0.5, quantised=0.4899).kept


def test_int8_needs_something_to_be_judged_by(run: Path, tmp_path: Path) -> None:
    assert "give held-out --annotations and --images" in refusal(run, tmp_path / "b", "--litert", "int8")


def test_a_run_without_the_weights_asked_for_is_told(run: Path, tmp_path: Path) -> None:
    assert "has no best.weights.h5" in refusal(run, tmp_path / "b", "--which", "best")


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    assert "has no recipe.json" in refusal(tmp_path, tmp_path / "b")


def test_weights_of_another_network_are_told(run: Path, tmp_path: Path) -> None:
    said = refusal(run / "final.weights.h5", tmp_path / "b", "--recipe", "mobilenet_fpn")
    assert "these are no weights of mobilenet_fpn" in said


def test_weights_that_are_not_there_are_told(tmp_path: Path) -> None:
    assert "none.weights.h5: No such file" in refusal(tmp_path / "none.weights.h5", tmp_path / "b")
    assert "say which folder the bundle goes to" in refusal(tmp_path / "none.weights.h5")


@pytest.mark.parametrize("text", ["", "100", "256;384", "0", "-32", "8192"])
def test_a_long_side_that_cannot_be_is_told(text: str) -> None:
    with pytest.raises(YaopError, match="multiples of 32"):
        parse_long_sides(text)


def test_half_of_the_held_out_data_is_told(run: Path, data: Path, tmp_path: Path) -> None:
    assert "belong together" in refusal(run, tmp_path / "b", "--annotations", data / "kites.json")
    assert "has no pictures" in refusal(run, tmp_path / "b", "--calibration", tmp_path)
