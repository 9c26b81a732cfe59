"""The engine over a live network, with the weights of the moment, on both backends.

`tests/integration/test_keras_engine_and_bundle.py` compares it with the exported bundle.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shared.inference.engine import EngineError, Fields
from shared.skeleton import BODY_18
from tests import blob_network
from tests.conftest import ROOT
from trainer.decoding import DecodeOptions

if TYPE_CHECKING:
    import keras

    from trainer.engine import KerasEngine

OPTIONS = DecodeOptions(max_peaks=24)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return blob_network.build()


@pytest.fixture
def engine(network: keras.Model) -> KerasEngine:
    from trainer.engine import KerasEngine

    return KerasEngine(network, BODY_18, blob_network.STRIDE, blob_network.SHAPES, OPTIONS)


def test_pose_is_decode_of_fields(engine: KerasEngine) -> None:
    images = blob_network.picture(blob_network.SHAPES[0])
    direct, in_two_steps = engine.pose(images), engine.decode(engine.fields(images))
    np.testing.assert_allclose(direct.peaks, in_two_steps.peaks, atol=1e-3)


def test_it_follows_the_weights(network: keras.Model, engine: KerasEngine) -> None:
    images = blob_network.picture(blob_network.SHAPES[0])
    before, weights = engine.fields(images), network.get_weights()
    network.set_weights([weight * 0 for weight in weights])
    assert not np.allclose(engine.fields(images).pafs, before.pafs, atol=1e-3)
    network.set_weights(weights)
    np.testing.assert_array_equal(engine.fields(images).pafs, before.pafs)


def test_heatmaps_are_clipped_to_the_range_of_an_engine() -> None:
    import keras

    from trainer.engine import KerasEngine

    images = keras.Input((None, None, 3))
    cells = keras.layers.AveragePooling2D(4)(images)
    heatmaps = keras.layers.Conv2D(18, 1)(cells)  # unbounded: pixels times random weights
    network = keras.Model(images, {"heatmaps": heatmaps, "pafs": keras.layers.Conv2D(38, 1)(cells)})
    engine = KerasEngine(network, BODY_18, 4, ((32, 32),))
    fields = engine.fields(np.full((1, 32, 32, 3), 200, np.uint8))
    assert fields.heatmaps.min() == 0.0 and fields.heatmaps.max() == 1.0
    assert fields.pafs.min() < 0 and np.abs(fields.pafs).max() > 1


def test_what_it_cannot_run_is_refused(network: keras.Model, engine: KerasEngine) -> None:
    from trainer.engine import KerasEngine

    with pytest.raises(EngineError, match=r"64x64 .* is not one of"):
        engine.pose(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(EngineError, match="uint8"):
        engine.pose(np.zeros((1, *blob_network.SHAPES[0], 3), np.float32))
    with pytest.raises(EngineError, match="not one of"):
        engine.decode(Fields(np.zeros((1, 8, 8, 18), np.float32), np.zeros((1, 8, 8, 38), np.float32)))
    with pytest.raises(EngineError, match="multiple of the stride 4"):
        KerasEngine(network, BODY_18, 4, ((30, 32),))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.pose(blob_network.picture(blob_network.SHAPES[0]))


_ON_JAX = """
    import sys
    import numpy as np
    from shared.skeleton import BODY_18
    from tests import blob_network
    from trainer.decoding import DecodeOptions
    from trainer.engine import KerasEngine

    given = np.load(sys.argv[1])
    network = blob_network.build()
    engine = KerasEngine(network, BODY_18, blob_network.STRIDE, blob_network.SHAPES, DecodeOptions(max_peaks=24))
    random = engine.fields(given["images"])
    network.set_weights([given[f"weight_{i}"] for i in range(len(network.weights))])
    fields = engine.fields(given["images"])
    pose = engine.decode(fields)
    np.savez(sys.argv[2], heatmaps=fields.heatmaps, pafs=fields.pafs, peaks=pose.peaks, before=random.pafs)
"""


@pytest.mark.slow
def test_jax_gives_the_same(network: keras.Model, engine: KerasEngine, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    images = blob_network.picture(blob_network.SHAPES[0])
    weights = {f"weight_{i}": weight * 1.1 for i, weight in enumerate(network.get_weights())}
    np.savez(tmp_path / "given.npz", allow_pickle=False, images=images, **weights)
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_ON_JAX), str(tmp_path / "given.npz"), str(tmp_path / "found.npz")],
        check=True, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}, timeout=250,
    )  # fmt: skip
    found, unchanged = np.load(tmp_path / "found.npz"), network.get_weights()
    network.set_weights(list(weights.values()))
    expected, peaks = engine.fields(images), engine.pose(images).peaks
    network.set_weights(unchanged)
    np.testing.assert_allclose(found["heatmaps"], expected.heatmaps, atol=1e-3)
    np.testing.assert_allclose(found["pafs"], expected.pafs, atol=1e-3)
    np.testing.assert_allclose(found["peaks"], peaks, atol=0.05)
    assert np.abs(found["before"] - expected.pafs).max() > 1e-2  # the weights came after the first call
