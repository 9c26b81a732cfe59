"""From a trained Keras model to the bundle that the service loads: SavedModel, LiteRT file, manifest, model card."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.bundle import LITERT_FILE, SAVED_MODEL_DIR, Bundle, BundleError, Manifest, skeleton_of, write_bundle
from shared.errors import YaopError
from shared.geometry import Shape
from shared.inference.engine import Engine, Fields, load_engine
from trainer import litert
from trainer.decoding import DecodeOptions, decode
from trainer.model_card import model_card
from trainer.quantization import HeldOut, judge

LONG_SIDES = (128, 192, 256, 320, 384, 512, 640, 768, 1024)
ASPECTS = ((1, 1), (4, 3), (3, 4), (16, 9), (9, 16))
_MULTIPLE = 32

HEATMAP_TOLERANCE = 0.01
PAF_TOLERANCE = 0.02
PEAK_TOLERANCE = 0.5  # network-input pixels
SCORE_TOLERANCE = 0.01
_ODD_LIMBS = 0.005  # share of limbs that may differ: a sample can fall on the other side of a cell's edge


class ExportError(YaopError):
    """The exported files do not do what the model does."""


def listed_shapes(long_sides: Sequence[int] = LONG_SIDES) -> tuple[Shape, ...]:
    """Network inputs (height, width) for pictures of the usual aspects; short sides round up to a multiple of 32."""
    shapes: dict[Shape, None] = {}
    for side in long_sides:
        for across, down in ASPECTS:
            longest = max(across, down)
            width, height = (-(-side * part // (longest * _MULTIPLE)) * _MULTIPLE for part in (across, down))
            shapes[height, width] = None
    return tuple(shapes)


@dataclass(frozen=True)
class ExportOptions:
    """What an export takes besides the model and its manifest.

    Attributes:
        replace: overwrite an existing bundle.
        held_out: pictures that decide whether int8 is kept; needed for it.
        calibration: pictures for the ranges of an int8 network's activations; without them only weights are int8.
        extra_files: content of further files of the bundle, by name.
        progress: called with the shapes converted and in all.
        say: called with a line for each decision.
    """

    replace: bool = False
    held_out: HeldOut | None = None
    calibration: tuple[Path, ...] = ()
    extra_files: Mapping[str, str] = field(default_factory=dict[str, str])
    progress: Callable[[int, int], object] | None = None
    say: Callable[[str], object] | None = None


def export_bundle(
    model: keras.Model, manifest: Manifest, destination: Path, options: ExportOptions = ExportOptions()
) -> Bundle:
    """Write a bundle and prove that its two engines agree.

    Args:
        model: takes float images ``[B, H, W, 3]`` in 0..255 of any size that is a multiple of 32; returns a dict with
            "heatmaps" ``[B, h, w, K]`` in 0..1 and "pafs" ``[B, h, w, 2L]``. Mixed precision becomes float32.
        manifest: everything about the model but the files; its `shapes` get a graph each in the LiteRT file, whose
            weights are stored as `litert_weights` says; `max_peaks` and the thresholds "peak" and "limb" go into the
            decoder. If int8 costs too much AP the bundle is written with float16.
        destination: the bundle's folder.
        options: see there.

    Raises:
        ExportError: LiteRT and TensorFlow disagree about fields or peaks, or int8 is asked for without held-out data.
        BundleError: the bundle cannot be written.
    """
    if destination.exists() and not options.replace:
        raise BundleError(f"{destination}: already exists")  # before the minutes of work, not after
    if manifest.litert_weights == "int8" and options.held_out is None:
        raise ExportError("int8 is kept only if it holds accuracy: give held-out --annotations and --images as well")
    manifest = manifest.model_copy(update={"thresholds": {**_thresholds(DecodeOptions()), **manifest.thresholds}})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        save_network(model, manifest, source / SAVED_MODEL_DIR)
        if options.held_out and not _int8_is_kept(source, manifest, options, options.held_out):
            manifest = manifest.model_copy(update={"litert_weights": "float16"})
        _write_litert(source, manifest, options)
        for name, content in {**options.extra_files, "model_card.md": model_card(manifest)}.items():
            (source / name).write_text(content, "utf-8")
        _check(write_bundle(Path(folder) / manifest.name, manifest, source))
        return write_bundle(destination, manifest, source, options.replace)


def save_network(model: keras.Model, manifest: Manifest, folder: Path) -> None:
    """Write the SavedModel with the signatures ``fields``, ``pose`` and ``decode`` for any batch and any size."""
    graphs = _Graphs(as_float32(model), manifest)
    tf.saved_model.save(graphs, str(folder), signatures=graphs.signatures())


def _int8_is_kept(source: Path, manifest: Manifest, options: ExportOptions, held_out: HeldOut) -> bool:
    """Try int8 at the shapes of the held-out pictures' resolution, before it is converted for all."""
    if manifest.litert_weights != "int8":
        return True
    tried = manifest.model_copy(update={"shapes": held_out.shapes_of(manifest.shapes)})
    _write_litert(source, tried, replace(options, progress=None))
    with tempfile.TemporaryDirectory() as folder:
        verdict = judge(write_bundle(Path(folder) / manifest.name, tried, source), held_out)
    if options.say:
        options.say(str(verdict))
    return verdict.kept


def _write_litert(source: Path, manifest: Manifest, options: ExportOptions) -> None:
    skeleton, progress = skeleton_of(manifest), options.progress
    conversion = litert.Conversion(
        source / SAVED_MODEL_DIR,
        manifest.stride,
        (skeleton.num_keypoints, 2 * skeleton.num_limbs),
        manifest.litert_weights,
        options.calibration,
    )
    total = len(manifest.shapes)
    report = (lambda done: progress(done, total)) if progress else None
    (source / LITERT_FILE).write_bytes(litert.convert(conversion, manifest.shapes, report))


def as_float32(model: keras.Model) -> keras.Model:
    """The same network with the same weights, computing in float32 throughout."""
    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model
    twin = type(model).from_config(_without_mixed_precision(model.get_config()))
    twin.set_weights(model.get_weights())
    return twin


def _without_mixed_precision(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_mixed_precision(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_without_mixed_precision(value) for value in config)
    return "float32" if config in ("mixed_float16", "mixed_bfloat16") else config


def _thresholds(options: DecodeOptions) -> dict[str, float]:
    return {"peak": options.peak_threshold, "limb": options.limb_threshold}


class _Graphs(tf.Module):
    """What is exported, as functions of tensors, and the variables behind it."""

    def __init__(self, model: keras.Model, manifest: Manifest) -> None:
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        # In a lambda, SavedModel does not trace the network's layers.
        self._network = lambda images: model(images, training=False)
        self._skeleton = skeleton_of(manifest)
        self._stride = manifest.stride
        self._options = DecodeOptions(
            max_peaks=manifest.max_peaks,
            peak_threshold=manifest.thresholds["peak"],
            limb_threshold=manifest.thresholds["limb"],
        )

    def fields(self, images: Any) -> dict[str, Any]:
        """Heatmaps and PAFs of uint8 images ``[B, H, W, 3]``."""
        outputs = self._network(tf.cast(images, tf.float32))
        # A network may regress its heatmaps without a squashing function; what is exported is in 0..1.
        return {"heatmaps": tf.clip_by_value(outputs["heatmaps"], 0.0, 1.0), "pafs": outputs["pafs"]}

    def decode(self, heatmaps: Any, pafs: Any) -> dict[str, Any]:
        """Peaks and limb scores of fields."""
        peaks, limb_scores = decode(heatmaps, pafs, skeleton=self._skeleton, stride=self._stride, options=self._options)
        return {"peaks": peaks, "limb_scores": limb_scores}

    def pose(self, images: Any) -> dict[str, Any]:
        """Peaks and limb scores of uint8 images ``[B, H, W, 3]``."""
        return self.decode(**self.fields(images))

    def signatures(self) -> dict[str, Any]:
        """Signatures for any batch and any size."""
        images = self._images((None, None, None))
        return {
            "fields": _trace(self.fields, images),
            "pose": _trace(self.pose, images),
            "decode": _trace(self.decode, *self._fields((None, None, None))),
        }

    def _images(self, sizes: tuple[int | None, ...]) -> Any:
        return tf.TensorSpec((*sizes, 3), tf.uint8, "images")

    def _fields(self, sizes: tuple[int | None, ...]) -> tuple[Any, Any]:
        heatmaps = tf.TensorSpec((*sizes, self._skeleton.num_keypoints), tf.float32, "heatmaps")
        return heatmaps, tf.TensorSpec((*sizes, 2 * self._skeleton.num_limbs), tf.float32, "pafs")


def _trace(function: Callable[..., Any], *specs: Any) -> Any:
    return tf.function(function).get_concrete_function(*specs)


def _check(bundle: Bundle) -> None:
    """Run both engines of a bundle on the same input at every shape.

    An int8 network was judged by its AP; of it only the decoder is compared.

    Raises:
        ExportError: they disagree.
    """
    exported, reference = load_engine(bundle, "litert"), load_engine(bundle, "tensorflow")
    random = np.random.default_rng(0)
    for shape in bundle.manifest.shapes:
        images = _picture(shape, random)
        if bundle.manifest.litert_weights != "int8":
            _check_network(exported, reference, images)
        _compare(exported.pose(images), exported.decode(exported.fields(images)), "pose and decode of LiteRT", shape)
        _check_decoder(exported, reference, _drawn_fields(bundle, shape, random))


def _check_network(exported: Engine, reference: Engine, images: NDArray[np.uint8]) -> None:
    fields, expected = exported.fields(images), reference.fields(images)
    for name, tolerance in (("heatmaps", HEATMAP_TOLERANCE), ("pafs", PAF_TOLERANCE)):
        error = float(np.abs(getattr(fields, name) - getattr(expected, name)).max())
        if not error <= tolerance:
            raise ExportError(f"{name} of LiteRT and TensorFlow differ by {error:.4f} at {images.shape[1:3]}")


def _check_decoder(exported: Engine, reference: Engine, fields: Fields) -> None:
    found = exported.decode(fields)
    if not (found.peaks[..., 2] > 0).any():
        raise ExportError("the decoder finds no peaks in fields that have some")
    _compare(found, reference.decode(fields), "decode of LiteRT and TensorFlow", fields.heatmaps.shape[1:3])


def _compare(found: Any, expected: Any, what: str, size: tuple[int, ...]) -> None:
    peaks = np.abs(found.peaks - expected.peaks).reshape(-1, 3).max(axis=0)
    if not (max(peaks[:2]) <= PEAK_TOLERANCE and peaks[2] <= SCORE_TOLERANCE):
        raise ExportError(f"{what} differ at {size}: peaks by {max(peaks[:2]):.3f} px, scores by {peaks[2]:.4f}")
    odd = float(np.mean(np.abs(found.limb_scores - expected.limb_scores) > SCORE_TOLERANCE))
    if odd > _ODD_LIMBS:
        raise ExportError(f"{what} differ at {size}: {odd:.1%} of the limb scores")


def _picture(shape: Shape, random: np.random.Generator) -> NDArray[np.uint8]:
    """Colours that vary over all scales, uint8 ``[1, H, W, 3]``."""
    height, width = shape
    layers = [_smooth(shape, (height // scale, width // scale, 3), random) for scale in (32, 8, 2)]
    return (255 * np.clip(np.mean(layers, axis=0) * 1.5 + 0.5, 0, 1)).astype(np.uint8)[None]


def _smooth(shape: Shape, coarse: tuple[int, int, int], random: np.random.Generator) -> NDArray[np.float32]:
    noise = random.uniform(-1, 1, coarse).astype(np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(*shape, coarse[2])


def _drawn_fields(bundle: Bundle, shape: Shape, random: np.random.Generator) -> Fields:
    """A few Gaussians of each type and PAFs that turn slowly, ``[1, h, w, C]``."""
    skeleton = bundle.skeleton
    height, width = (side // bundle.manifest.stride for side in shape)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    heatmaps = np.zeros((1, height, width, skeleton.num_keypoints), np.float32)
    for kind in range(skeleton.num_keypoints):
        for top in (0.9, 0.7, 0.5, 0.3):
            y, x = random.uniform(0, (height - 1, width - 1))
            bump = top * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2))
            heatmaps[0, ..., kind] = np.maximum(heatmaps[0, ..., kind], bump)
    pafs = [_smooth((height, width), (3, 3, 2), random) for _ in range(skeleton.num_limbs)]
    return Fields(heatmaps, np.concatenate(pafs, axis=-1)[None])
