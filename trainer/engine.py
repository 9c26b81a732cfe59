"""An engine over a live Keras network, so that training measures itself with the code that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from shared.geometry import Shape
from shared.inference.engine import EngineError, Fields, PoseArrays, check_fields, check_images
from shared.skeleton import Skeleton
from trainer.decoding import DecodeOptions, decode

Tensor = Any
"""A tensor of the Keras backend in use."""

Function = Callable[..., tuple[Tensor, Tensor]]

_DEFAULTS = DecodeOptions()


class KerasEngine:
    """Runs a network that is in memory; see `shared.inference.engine.Engine`.

    Every call uses the weights that the network has at that moment. Compiled once for each shape of input, batch
    included, on the TensorFlow and the JAX backend.
    """

    name = "keras"

    def __init__(
        self,
        network: keras.Model,
        skeleton: Skeleton,
        stride: int,
        shapes: Iterable[Shape],
        options: DecodeOptions = _DEFAULTS,
    ) -> None:
        """Wrap a network.

        Args:
            network: takes float images ``[B, H, W, 3]`` in 0..255; returns a dict with at least "heatmaps"
                ``[B, h, w, K]`` and "pafs" ``[B, h, w, 2L]``.
            skeleton: K keypoints and L limbs.
            stride: network-input pixels per cell.
            shapes: the (height, width) of the inputs that it takes.
            options: of the decoder.

        Raises:
            EngineError: a shape is not a multiple of the stride, or Keras runs on another backend.
        """
        self.shapes: tuple[Shape, ...] = tuple(shapes)
        odd = [shape for shape in self.shapes if any(side % stride for side in shape)]
        if odd:
            raise EngineError(f"network input of {odd[0][0]}x{odd[0][1]} is not a multiple of the stride {stride}")
        self._network, self._skeleton, self._stride, self._options = network, skeleton, stride, options
        compiler = _compiler()
        self._tasks = {
            name: compiler(function, network)
            for name, function in (("pose", self._pose), ("fields", self._fields), ("decode", self._decode))
        }

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        """Peaks and limb scores of RGB pictures uint8 ``[B, H, W, 3]``."""
        check_images(images, self.shapes)
        return PoseArrays(*self._run("pose", images))

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        """Heatmaps and PAFs of RGB pictures uint8 ``[B, H, W, 3]``."""
        check_images(images, self.shapes)
        return Fields(*self._run("fields", images))

    def decode(self, fields: Fields) -> PoseArrays:
        """Peaks and limb scores of fields."""
        check_fields(fields, self._stride, self.shapes)
        return PoseArrays(*self._run("decode", *fields))

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        """Compile for one picture of each of these shapes."""
        for height, width in shapes:
            self.pose(np.zeros((1, height, width, 3), np.uint8))

    def close(self) -> None:
        """Let go of the compiled functions; the network itself belongs to whoever made it."""
        self._tasks.clear()

    def _run(self, task: str, *inputs: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if task not in self._tasks:
            raise EngineError("this engine is closed")
        first, second = (ops.convert_to_numpy(output) for output in self._tasks[task](*inputs))
        return first, second

    def _pose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._decode(*self._fields(images))

    def _fields(self, images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self._network(ops.cast(images, "float32"), training=False)
        heatmaps, pafs = (ops.cast(outputs[part], "float32") for part in ("heatmaps", "pafs"))
        return ops.clip(heatmaps, 0.0, 1.0), pafs  # as the export does: what comes out of an engine is in 0..1

    def _decode(self, heatmaps: Tensor, pafs: Tensor) -> tuple[Tensor, Tensor]:
        return decode(heatmaps, pafs, skeleton=self._skeleton, stride=self._stride, options=self._options)


def _compiler() -> Callable[[Function, keras.Model], Function]:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _compile_tensorflow
    if backend == "jax":
        return _compile_jax
    raise EngineError(f"a live network runs on Keras's backend tensorflow or jax, not {backend}")


def _compile_tensorflow(function: Function, _network: keras.Model) -> Function:
    import tensorflow as tf

    graphs: dict[tuple[tuple[int, ...], ...], Function] = {}
    lock = Lock()

    def run(*inputs: NDArray[Any]) -> tuple[Tensor, Tensor]:
        tensors = [tf.constant(array) for array in inputs]
        shapes = tuple(array.shape for array in inputs)
        with lock:
            if shapes not in graphs:
                # A graph reads the network's variables when it runs, not when it is made.
                graphs[shapes] = tf.function(function, autograph=False).get_concrete_function(*tensors)
        return graphs[shapes](*tensors)

    return run


def _compile_jax(function: Function, network: keras.Model) -> Function:
    import jax

    def stateless(values: list[Tensor], *inputs: Tensor) -> tuple[Tensor, Tensor]:
        with keras.StatelessScope(state_mapping=list(zip(network.variables, values, strict=True))):
            return function(*inputs)

    compiled = jax.jit(stateless)
    # The weights are arguments: as constants of the compiled function they would stay what they were.
    return lambda *inputs: compiled([variable.value for variable in network.variables], *inputs)
