"""One harness for every network of the registry: shapes, dtypes, saving, mixed precision, training signal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from shared.bundle import Manifest
from shared.inference.engine import load_engine
from shared.skeleton import BODY_18
from trainer.export import export_bundle
from trainer.models.registry import NETWORKS, UnknownNetworkError, build_network, get_network
from trainer.weights import save_weights

# Small versions, so that the harness takes seconds; the shapes of the real ones differ in width only.
SMALL: dict[str, dict[str, Any]] = {
    "mobilenet_fpn": {"width": 16},
    "openpose_vgg19": {"block_width": 8, "stage_width": 16},
}
IMAGE = (64, 96)
OURS = sorted(name for name, network in NETWORKS.items() if network.build.__module__.startswith("trainer."))


@pytest.fixture(params=OURS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def network(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_network(name, BODY_18, **SMALL[name])


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def _images(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (batch, *IMAGE, 3)).astype(np.float32)


def _check_outputs(outputs: dict[str, Any], name: str) -> None:
    stride = get_network(name).stride
    cells = (2, IMAGE[0] // stride, IMAGE[1] // stride)
    assert tuple(outputs["heatmaps"].shape) == (*cells, BODY_18.num_keypoints)
    assert tuple(outputs["pafs"].shape) == (*cells, 2 * BODY_18.num_limbs)
    for output in outputs.values():
        assert keras.backend.standardize_dtype(output.dtype) == "float32"
        assert np.isfinite(keras.ops.convert_to_numpy(output)).all()


def test_the_harness_knows_every_network() -> None:
    assert sorted(SMALL) == OURS


def test_fields_have_the_skeletons_channels_at_the_networks_stride(name: str, network: keras.Model) -> None:
    _check_outputs(network(_images()), name)


def test_mixed_precision_still_gives_float32_fields(mixed_precision: None, name: str) -> None:
    _check_outputs(build_network(name, BODY_18, **SMALL[name])(_images()), name)


def test_saved_weights_give_the_same_fields_when_loaded(network: keras.Model, name: str, tmp_path: Path) -> None:
    path = tmp_path / "network.weights.h5"
    save_weights(network, path)
    keras.utils.set_random_seed(1)
    other = build_network(name, BODY_18, **SMALL[name])
    other.load_weights(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no temporary file stays behind"
    for key, expected in network(_images()).items():
        np.testing.assert_allclose(other(_images())[key], expected, atol=1e-5)


def test_a_saved_model_file_gives_the_same_fields(network: keras.Model, tmp_path: Path) -> None:
    network.save(tmp_path / "network.keras")
    other = keras.models.load_model(tmp_path / "network.keras")
    for key, expected in network(_images()).items():
        np.testing.assert_allclose(other(_images())[key], expected, atol=1e-5)


@pytest.mark.slow
def test_an_exported_bundle_gives_the_same_fields_on_both_engines(
    network: keras.Model, name: str, tmp_path: Path
) -> None:
    manifest = Manifest(
        name=name, version="1", skeleton="body_18", stride=get_network(name).stride, shapes=(IMAGE,), max_peaks=8,
        licence="none", created="2026-01-01T00:00:00+00:00", architecture=name,
    )  # fmt: skip
    bundle = export_bundle(network, manifest, tmp_path / name)
    images = _images(1).astype(np.uint8)
    expected = network(images.astype(np.float32))
    for engine in (load_engine(bundle, "litert"), load_engine(bundle, "tensorflow")):
        fields = engine.fields(images)
        scale = max(1.0, float(np.abs(expected["pafs"]).max()))
        np.testing.assert_allclose(fields.heatmaps, np.clip(expected["heatmaps"], 0, 1), atol=0.01)
        np.testing.assert_allclose(fields.pafs, expected["pafs"], atol=0.01 * scale)


def test_the_picture_size_may_change_from_call_to_call(network: keras.Model) -> None:
    for height, width in ((32, 64), (96, 64)):
        outputs = network(np.zeros((1, height, width, 3), np.float32))
        assert outputs["heatmaps"].shape[2] * height == outputs["heatmaps"].shape[1] * width


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(UnknownNetworkError, match="mobilenet_fpn, openpose_vgg19"):
        build_network("resnet", BODY_18)


def test_the_papers_network_has_every_stages_output_and_the_papers_size() -> None:
    network = build_network("openpose_vgg19", BODY_18)
    assert {key for key in network.output if key.startswith("pafs")} == {"pafs", "pafs_0", "pafs_1", "pafs_2"}
    assert {key for key in network.output if key.startswith("heatmaps")} == {"heatmaps", "heatmaps_0"}
    convolutions = [layer for layer in network.layers if layer.name.startswith("block") and "conv" in layer.name]
    assert [layer.filters for layer in convolutions] == [64, 64, 128, 128, 256, 256, 256, 256, 512, 512]
