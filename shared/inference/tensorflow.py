"""The TensorFlow engine: the bundle's SavedModel, on a GPU where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.cores import limited_cores
from shared.geometry import Shape
from shared.inference.engine import EngineError, Fields, PoseArrays, check_fields, check_images


class TensorFlowEngine:
    """Runs a bundle with TensorFlow; see `shared.inference.engine.Engine`. Pictures of a batch run together."""

    name = "tensorflow"

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        tf = _import_tensorflow()
        if not (bundle.saved_model / "saved_model.pb").is_file():
            raise EngineError(f"{bundle.path}: this bundle has no SavedModel; use the engine 'litert'")
        _configure(tf, threads)
        self.shapes: tuple[Shape, ...] = bundle.manifest.shapes
        self._stride = bundle.manifest.stride
        self._constant = tf.constant
        self._model = tf.saved_model.load(str(bundle.saved_model))
        self._signatures: dict[str, Any] = dict(self._model.signatures)
        missing = {"pose", "fields", "decode"} - self._signatures.keys()
        if missing:
            raise EngineError(f"{bundle.saved_model}: has no signature {', '.join(sorted(missing))}")

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        """Peaks and limb scores of RGB pictures uint8 ``[B, H, W, 3]``."""
        check_images(images, self.shapes)
        result = self._run("pose", images=images)
        return PoseArrays(result["peaks"], result["limb_scores"])

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        """Heatmaps and PAFs of RGB pictures uint8 ``[B, H, W, 3]``."""
        check_images(images, self.shapes)
        result = self._run("fields", images=images)
        return Fields(result["heatmaps"], result["pafs"])

    def decode(self, fields: Fields) -> PoseArrays:
        """Peaks and limb scores of fields."""
        check_fields(fields, self._stride, self.shapes)
        result = self._run("decode", heatmaps=fields.heatmaps, pafs=fields.pafs)
        return PoseArrays(result["peaks"], result["limb_scores"])

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        """Run each of these shapes once."""
        for height, width in shapes:
            self.pose(np.zeros((1, height, width, 3), np.uint8))

    def close(self) -> None:
        """Let go of the model."""
        self._signatures.clear()
        self._model = None

    def _run(self, signature: str, **inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        # A concrete function may run in several threads at once.
        tensors = {name: self._constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self._signatures[signature](**tensors).items()}


def _import_tensorflow() -> Any:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise EngineError("the engine 'tensorflow' needs TensorFlow: install yaop[tensorflow]") from error
    return tf


def _configure(tf: Any, threads: int) -> None:
    """Set threads and GPU memory growth; both are fixed from TensorFlow's first operation in a process on."""
    with contextlib.suppress(RuntimeError):
        if threads := threads or limited_cores():
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
