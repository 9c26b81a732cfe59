"""Both engines on one exported network: the same answers, the same errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shared.bundle import LITERT_FILE, Bundle, load_bundle, write_bundle
from shared.inference.engine import Engine, EngineError, Fields, PoseArrays, load_engine
from tests import blob_network


@pytest.fixture(scope="module")
def engines(blob_bundle: Bundle) -> Iterator[dict[str, Engine]]:
    loaded = {name: load_engine(blob_bundle, name, threads=2) for name in ("litert", "tensorflow")}
    yield loaded
    for engine in loaded.values():
        engine.close()


@pytest.fixture(params=["litert", "tensorflow"])
def engine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    return engines[request.param]


def assert_same_pose(found: PoseArrays, expected: PoseArrays) -> None:
    assert found.peaks.shape == expected.peaks.shape and found.limb_scores.shape == expected.limb_scores.shape
    assert np.abs(found.peaks[..., :2] - expected.peaks[..., :2]).max() < 0.5
    assert np.abs(found.peaks[..., 2] - expected.peaks[..., 2]).max() < 0.01
    assert np.mean(np.abs(found.limb_scores - expected.limb_scores) > 0.01) < 0.001


@pytest.mark.parametrize("shape", blob_network.SHAPES)
def test_engines_agree_about_peaks_and_limbs(engines: dict[str, Engine], shape: tuple[int, int]) -> None:
    images = np.concatenate([blob_network.picture(shape, seed) for seed in range(3)])
    litert, tensorflow = engines["litert"].pose(images), engines["tensorflow"].pose(images)
    assert (litert.peaks[..., 2] > 0.1).sum() > 100
    assert (litert.limb_scores > 0).sum() > 50
    assert_same_pose(litert, tensorflow)


@pytest.mark.parametrize("shape", blob_network.SHAPES)
def test_engines_agree_about_fields(engines: dict[str, Engine], shape: tuple[int, int]) -> None:
    images = blob_network.picture(shape)
    litert, tensorflow = engines["litert"].fields(images), engines["tensorflow"].fields(images)
    assert litert.heatmaps.shape == (1, shape[0] // 4, shape[1] // 4, 18)
    assert litert.pafs.shape == (1, shape[0] // 4, shape[1] // 4, 38)
    np.testing.assert_allclose(litert.heatmaps, tensorflow.heatmaps, atol=0.005)
    np.testing.assert_allclose(litert.pafs, tensorflow.pafs, atol=0.01)


def test_decoding_the_fields_is_the_pose(engine: Engine) -> None:
    images = np.concatenate([blob_network.picture((96, 128), seed) for seed in range(2)])
    assert_same_pose(engine.decode(engine.fields(images)), engine.pose(images))


def test_decode_takes_fields_of_any_memory_layout(engine: Engine) -> None:
    fields = engine.fields(blob_network.picture((96, 128)))
    mirrored = Fields(fields.heatmaps[:, :, ::-1], fields.pafs[:, :, ::-1])
    copied = Fields(mirrored.heatmaps.copy(), mirrored.pafs.copy())
    assert_same_pose(engine.decode(mirrored), engine.decode(copied))


def test_spots_are_found_where_they_are(engine: Engine) -> None:
    images = np.zeros((1, 96, 128, 3), np.uint8)
    rows, columns = np.mgrid[:96, :128]
    images[0, ..., 0] = 255 * np.exp(-((rows - 40.0) ** 2 + (columns - 83.0) ** 2) / 72)
    peak = engine.pose(images).peaks[0, 0, 0]
    assert peak[2] > 0.3
    assert np.abs(peak[:2] - (83, 40)).max() < 1


def test_results_belong_to_the_caller(engine: Engine) -> None:
    images = blob_network.picture((96, 128))
    first = engine.pose(images)
    kept = first.peaks.copy()
    engine.pose(np.zeros_like(images))
    np.testing.assert_array_equal(first.peaks, kept)


def test_threads_get_the_results_of_their_own_pictures(engine: Engine) -> None:
    jobs = [blob_network.picture(shape, seed) for seed in range(8) for shape in blob_network.SHAPES]
    alone = [engine.pose(images) for images in jobs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(engine.pose, jobs))
    for found, expected in zip(together, alone, strict=True):
        assert_same_pose(found, expected)


def test_a_shape_that_is_not_listed_is_refused_with_the_list(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"100x128.*96x128, 128x64"):
        engine.pose(np.zeros((1, 100, 128, 3), np.uint8))
    with pytest.raises(EngineError, match=r"32x32.*96x128"):
        engine.decode(Fields(np.zeros((1, 8, 8, 18), np.float32), np.zeros((1, 8, 8, 38), np.float32)))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 96, 128, 3), np.float32),
        np.zeros((96, 128, 3), np.uint8),
        np.zeros((1, 96, 128, 4), np.uint8),
        np.zeros((0, 96, 128, 3), np.uint8),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(engine: Engine, images: np.ndarray) -> None:
    with pytest.raises(EngineError, match="uint8"):
        engine.fields(images)


def test_warm_up_takes_listed_shapes_only(engine: Engine) -> None:
    engine.warm_up(engine.shapes)
    with pytest.raises(EngineError):
        engine.warm_up([(1, 1)])


def test_graphs_that_were_let_go_are_loaded_again(blob_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.inference.litert._MEMORY_KEPT", 1)
    engine = load_engine(blob_bundle, "litert", threads=1)
    before = [engine.pose(blob_network.picture(shape)) for shape in engine.shapes]
    after = [engine.pose(blob_network.picture(shape)) for shape in engine.shapes]
    for found, expected in zip(after, before, strict=True):
        assert_same_pose(found, expected)


def test_the_saved_model_takes_sizes_that_are_not_listed(blob_bundle: Bundle) -> None:
    import tensorflow as tf

    signatures = tf.saved_model.load(str(blob_bundle.saved_model)).signatures
    for batch, height, width in ((1, 32, 32), (2, 160, 64), (3, 64, 224)):
        images = np.repeat(blob_network.picture((height, width)), batch, axis=0)
        result = signatures["pose"](images=tf.constant(images))
        assert result["peaks"].shape == (batch, 18, 24, 3)
        assert (result["peaks"].numpy()[..., 2] > 0.1).any()
        np.testing.assert_allclose(result["peaks"][0], result["peaks"][-1], atol=1e-3)


def test_auto_needs_no_tensorflow_where_there_is_no_gpu(blob_bundle: Bundle) -> None:
    script = f"""
import sys
from pathlib import Path
import shared.inference.engine as engine
from shared.bundle import load_bundle
engine._gpu_visible = lambda: False
loaded = engine.load_engine(load_bundle(Path({str(blob_bundle.path)!r})))
loaded.warm_up(loaded.shapes[:1])
print(loaded.name, sorted({{"tensorflow", "keras"}} & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "litert []", done.stderr


def test_auto_takes_tensorflow_where_there_is_a_gpu(blob_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.inference.engine._gpu_visible", lambda: True)
    assert load_engine(blob_bundle).name == "tensorflow"


def test_auto_takes_tensorflow_for_a_bundle_without_litert_file(
    blob_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.inference.engine._gpu_visible", lambda: False)
    partial = write_bundle(tmp_path / "partial", blob_bundle.manifest, blob_bundle.path)
    (partial.path / LITERT_FILE).unlink()
    partial = write_bundle(tmp_path / "without", blob_bundle.manifest, partial.path)
    assert load_engine(partial).name == "tensorflow"
    with pytest.raises(EngineError, match="no LiteRT file"):
        load_engine(partial, "litert")


@pytest.mark.parametrize(("package", "name"), [("ai_edge_litert.interpreter", "litert"), ("tensorflow", "tensorflow")])
def test_a_missing_package_is_named(
    blob_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # Python's way to say that an import fails
    with pytest.raises(EngineError, match=f"'{name}' needs"):
        load_engine(load_bundle(blob_bundle.path), "litert" if name == "litert" else "tensorflow")


def test_a_file_that_is_no_tflite_file_is_refused_with_its_name(blob_bundle: Bundle) -> None:
    content = (blob_bundle.path / LITERT_FILE).read_bytes()
    (blob_bundle.path / LITERT_FILE).write_bytes(b"?" * len(content))
    try:
        with pytest.raises(EngineError, match=f"{LITERT_FILE}: not a TFLite file"):
            load_engine(blob_bundle, "litert")
    finally:
        (blob_bundle.path / LITERT_FILE).write_bytes(content)


def test_a_file_that_lacks_a_listed_shape_is_refused_at_load(blob_bundle: Bundle, tmp_path: Path) -> None:
    manifest = blob_bundle.manifest.model_copy(update={"shapes": (*blob_bundle.manifest.shapes, (256, 256))})
    with pytest.raises(EngineError, match="256"):
        load_engine(write_bundle(tmp_path / "more", manifest, blob_bundle.path), "litert")
