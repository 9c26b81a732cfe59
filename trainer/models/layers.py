"""Building blocks that the networks share, on the Keras functional API."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = Any
"""A symbolic or concrete tensor of the Keras backend."""


@keras.saving.register_keras_serializable("yaop")
class Normalize(layers.Layer):
    """RGB 0..255 to -1..1, so that the exported network takes plain pictures."""

    def call(self, images: Tensor) -> Tensor:
        """Map float images ``[B, H, W, 3]`` in 0..255 to -1..1."""
        return ops.cast(images, self.compute_dtype) / 127.5 - 1.0


@keras.saving.register_keras_serializable("yaop")
class ResizeLike(layers.Layer):
    """Bilinear resize of the first input to the height and width of the second.

    Unlike `keras.layers.UpSampling2D` it also works where the spatial size is unknown while tracing.
    """

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Resize ``inputs[0]`` (channels last) with half-pixel centres."""
        source, reference = inputs
        return ops.cast(_resize(source, ops.shape(reference)[1:3]), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Spatial size of the second input, channels of the first."""
        source, reference = input_shape
        return (*reference[:3], source[3])


def _resize(source: Tensor, size: Any) -> Tensor:
    if keras.backend.backend() == "tensorflow":
        # Keras' own resize compares the size with numbers, which fails while it is unknown.
        import tensorflow as tf

        return tf.image.resize(source, size, method="bilinear")
    return ops.image.resize(source, size, interpolation="bilinear")


def conv_bn(
    x: Tensor,
    filters: int,
    name: str,
    *,
    kernel: int = 1,
    strides: int = 1,
    activation: str | None = "relu",
    frozen_statistics: bool = False,
) -> Tensor:
    """Convolution without bias, batch norm, activation.

    Args:
        frozen_statistics: normalise with the stored statistics in training too; scale and offset still
            learn. A pre-trained trunk keeps its function this way, whatever the batch.
    """
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=name)(x)
    return _norm(x, name, activation, frozen_statistics)


def depthwise_bn(
    x: Tensor,
    name: str,
    *,
    kernel: int = 3,
    strides: int = 1,
    activation: str | None = "relu",
    frozen_statistics: bool = False,
) -> Tensor:
    """Depthwise convolution without bias, batch norm, activation; options as in `conv_bn`."""
    x = layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False, name=name)(x)
    return _norm(x, name, activation, frozen_statistics)


def _norm(x: Tensor, name: str, activation: str | None, frozen_statistics: bool) -> Tensor:
    norm = layers.BatchNormalization(name=f"{name}_bn")
    x = norm(x, training=False) if frozen_statistics else norm(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def separable_bn(x: Tensor, filters: int, name: str, *, kernel: int = 3) -> Tensor:
    """Depthwise (linear) then pointwise convolution, batch norm after the latter, ReLU."""
    x = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    return conv_bn(x, filters, f"{name}_pointwise")


def residual_separable(x: Tensor, name: str, *, kernel: int = 5) -> Tensor:
    """A separable convolution of the same width with a skip connection around it."""
    return layers.Add(name=f"{name}_add")([x, separable_bn(x, int(x.shape[-1]), name, kernel=kernel)])


def as_float32(x: Tensor, name: str) -> Tensor:
    """Cast an output to float32, so that losses and exports see full precision under mixed precision."""
    return layers.Activation("linear", dtype="float32", name=name)(x)
