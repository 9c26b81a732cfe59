"""JPEG bytes to a network input by one affine map, at the least cost: scaled decoding, then one bilinear warp."""

from __future__ import annotations

import math
from typing import Any

from shared.geometry import PAD_VALUE

Tensor = Any

_RATIOS = (1, 2, 4, 8)  # what libjpeg can shrink by while it decodes
_ALIASES = 0.75  # sampling bilinearly at less than this aliases; the served path shrinks by area too


def affine_scale(matrix: Tensor) -> Tensor:
    """By how much a 2x3 map enlarges, as the square root of its determinant."""
    import tensorflow as tf

    return tf.sqrt(tf.abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))


def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Map pixel centres ``[..., 2]`` by a 2x3 matrix."""
    import tensorflow as tf

    flat = tf.matmul(tf.reshape(points, [-1, 2]), matrix[:, :2], transpose_b=True) + matrix[:, 2]
    return tf.reshape(flat, tf.shape(points))


def invert(matrix: Tensor) -> Tensor:
    """The inverse of a 2x3 affine map."""
    import tensorflow as tf

    (a, b, x), (c, d, y) = (tf.unstack(row) for row in tf.unstack(matrix))
    determinant = a * d - b * c
    rows = [d, -b, b * y - d * x, -c, a, c * x - a * y]
    return tf.reshape(tf.stack(rows) / determinant, [2, 3])


def decode_and_warp(jpeg: Tensor, matrix: Tensor, side: int) -> Tensor:
    """The network input that `matrix` cuts from a picture.

    Args:
        jpeg: bytes of a JPEG file.
        matrix: float32 ``[2, 3]`` from pixel centres of the whole picture to those of the input.
        side: width and height of the input.

    Returns:
        float32 ``[side, side, 3]`` in 0..255, `PAD_VALUE` outside of the picture.
    """
    import tensorflow as tf

    pixels, ratio, remaining = decode_scaled(jpeg, affine_scale(matrix))
    pixels, shrunk = _shrink(pixels, remaining)
    return warp(pixels, _from_resized(matrix, shrunk * tf.cast(ratio, tf.float32)), side)


def decode_scaled(jpeg: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decode a picture that will be scaled by `scale`, shrunk in the decoder by as much of it as libjpeg can.

    Returns:
        the picture uint8 ``[h, w, 3]``, the ratio it is shrunk by (its edges stay in place: centres move by
        ``(x + 0.5) / ratio - 0.5``), and the scale that remains, in (0.5, 1] between ratios 1 and 8.
    """
    import tensorflow as tf

    halvings = tf.cast(tf.floor(-tf.math.log(scale) / math.log(2) + 1e-6), tf.int32)
    index = tf.clip_by_value(halvings, 0, len(_RATIOS) - 1)
    branches = [lambda r=r: tf.io.decode_jpeg(jpeg, channels=3, ratio=r) for r in _RATIOS]
    ratio = tf.gather(tf.constant(_RATIOS), index)
    return tf.switch_case(index, branches), ratio, scale * tf.cast(ratio, tf.float32)


def _shrink(pixels: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The picture as float32, resized by area where it will shrink much, and by how much for x and y (1 or more)."""
    import tensorflow as tf

    before = tf.shape(pixels)[:2]

    def by_area() -> Tensor:
        size = tf.maximum(tf.cast(tf.round(tf.cast(before, tf.float32) * scale), tf.int32), 1)
        return tf.image.resize(pixels, size, method="area")

    result = tf.cond(scale < _ALIASES, by_area, lambda: tf.cast(pixels, tf.float32))
    return result, tf.cast(before / tf.shape(result)[:2], tf.float32)[::-1]


def _from_resized(matrix: Tensor, factors: Tensor) -> Tensor:
    """The map for a picture that was shrunk by these factors (x, y), edges kept in place."""
    import tensorflow as tf

    offset = tf.linalg.matvec(matrix[:, :2], factors / 2 - 0.5) + matrix[:, 2]
    return tf.concat([matrix[:, :2] * factors, offset[:, None]], axis=1)


def warp(pixels: Tensor, matrix: Tensor, side: int) -> Tensor:
    """Bilinear warp of float32 ``[h, w, 3]`` by a 2x3 map to ``[side, side, 3]``, `PAD_VALUE` outside."""
    import tensorflow as tf

    # The op wants the map from output to input, both of them on whole numbers at pixel centres, as ours are.
    transform = tf.concat([tf.reshape(invert(matrix), [1, 6]), tf.zeros([1, 2])], axis=1)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[None], transforms=transform, output_shape=[side, side], fill_value=float(PAD_VALUE),
        interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip
    return tf.ensure_shape(warped[0], [side, side, 3])
