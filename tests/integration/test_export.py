"""What an exported bundle holds, and that a wrong one is never written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from shared.bundle import LITERT_FILE, Bundle, BundleError, load_bundle
from shared.inference.engine import load_engine
from shared.inference.tflite_file import TFLiteFile
from tests import blob_network
from trainer import export, litert
from trainer.decoding import DecodeOptions
from trainer.export import ExportError, as_float32, export_bundle, listed_shapes

THRESHOLDS = {"peak": DecodeOptions().peak_threshold, "limb": DecodeOptions().limb_threshold}


def test_the_bundle_loads_and_its_card_tells_what_it_is(blob_bundle: Bundle) -> None:
    loaded = load_bundle(blob_bundle.path)
    assert loaded.manifest.shapes == blob_network.SHAPES
    assert loaded.manifest.thresholds == THRESHOLDS
    card = (blob_bundle.path / "model_card.md").read_text("utf-8")
    assert "# blobs" in card and "Apache-2.0" in card and "Not measured" in card


def test_the_exported_network_computes_what_the_model_does(blob_bundle: Bundle) -> None:
    images = blob_network.picture((96, 128))
    expected = blob_network.build()(images.astype(np.float32), training=False)
    for name in ("litert", "tensorflow"):
        fields = load_engine(blob_bundle, name).fields(images)
        np.testing.assert_allclose(fields.heatmaps, expected["heatmaps"], atol=0.005)
        np.testing.assert_allclose(fields.pafs, expected["pafs"], atol=0.01)


def test_shapes_share_their_weights_in_the_litert_file(blob_bundle: Bundle) -> None:
    from ai_edge_litert import schema_py_generated as schema

    content = (blob_bundle.path / LITERT_FILE).read_bytes()
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    assert len(model.subgraphs) == 2 * len(blob_network.SHAPES)
    contents = [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]
    assert len(set(contents)) == len(contents)
    weights = {t.buffer for graph in model.subgraphs for t in graph.tensors if t.type == schema.TensorType.FLOAT16}
    assert len(weights) >= 5
    signatures = TFLiteFile(content).signatures
    assert set(signatures) == {
        f"{task}_{h}x{w}" for task in ("pose", "fields", "decode") for h, w in blob_network.SHAPES
    }


def test_mixed_precision_is_exported_as_float32() -> None:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = blob_network.build()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    twin = as_float32(model)
    assert {layer.compute_dtype for layer in twin.layers} == {"float32"}
    images = blob_network.picture((64, 64)).astype(np.float32)
    found, expected = (m(images, training=False)["heatmaps"] for m in (twin, blob_network.build()))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_litert_file_that_differs_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = blob_network.manifest().model_copy(update={"shapes": ((64, 64),), "thresholds": THRESHOLDS})
    export.save_network(blob_network.build(seed=1), manifest, tmp_path / "another")
    convert = litert.convert

    def convert_another(conversion: litert.Conversion, *how: Any) -> bytes:
        return convert(replace(conversion, saved_model=tmp_path / "another"), *how)

    monkeypatch.setattr(litert, "convert", convert_another)
    with pytest.raises(ExportError, match="differ"):
        export_bundle(blob_network.build(), manifest, tmp_path / "blobs")
    assert not (tmp_path / "blobs").exists()


def test_an_existing_bundle_is_replaced_only_on_request(blob_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="exists"):
        export_bundle(blob_network.build(), blob_network.manifest(), blob_bundle.path)


def test_listed_shapes_cover_the_usual_aspects_once() -> None:
    shapes = listed_shapes()
    assert len(shapes) == len(set(shapes))
    assert all(side % 32 == 0 for shape in shapes for side in shape)
    assert {max(shape) for shape in shapes} == {128, 192, 256, 320, 384, 512, 640, 768, 1024}
    assert {(384, 384), (288, 384), (384, 288), (224, 384), (384, 224)} <= set(shapes)
