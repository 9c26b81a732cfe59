"""Augmentation: what is drawn for one sample, the affine map of it, and the changes of colour; TensorFlow graph ops.

Every draw of a sample comes from one stateless call on the sample's seed, so a sample is the same whenever and
wherever it is made. TensorFlow is imported where it is used: recipes hold `AugmentOptions` and must load without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from shared.geometry import PAD_VALUE

Tensor = Any

_DRAWS = (
    "person", "scale", "center_x", "center_y", "angle_radius", "angle_phase", "mirror", "shift_x", "shift_y",
    "gray", "saturation", "contrast", "brightness", "red", "green", "blue",
    "degrade", "blur_or_jpeg", "amount", "cutout", "cutout_size", "cutout_x", "cutout_y",
)  # fmt: skip

_LUMINANCE = (0.299, 0.587, 0.114)
_BLUR_RADIUS = 5
_LONG_LIMIT = 1e-3  # boxes and sides are at least this, so that no logarithm or quotient of them is infinite


@dataclass(frozen=True)
class AugmentOptions:
    """Ranges that samples are drawn from.

    Attributes:
        long_side: the whole picture's long side after scaling, in input pixels (log-uniform): the
            range of resolutions the network will be served at.
        person_side: bounds of the chosen person's long side after scaling, in input pixels.
        rotation: largest angle, in degrees.
        jitter: how far the crop's centre strays from the person's, in input sides.
        flip: probability of mirroring.
        color: strength of brightness, contrast, saturation and hue changes.
        gray: probability of a grey picture.
        degrade: probability of blur or JPEG artefacts.
        cutout: probability that a grey square hides a part of the chosen person.
    """

    long_side: tuple[float, float] = (224.0, 640.0)
    person_side: tuple[float, float] = (28.0, 300.0)
    rotation: float = 40.0
    jitter: float = 0.25
    flip: float = 0.5
    color: float = 0.25
    gray: float = 0.03
    degrade: float = 0.15
    cutout: float = 0.0


def stack_options(options: Sequence[AugmentOptions]) -> Tensor:
    """The options of several sources as one constant, float32 ``[sources, 11]``."""
    import tensorflow as tf

    return tf.constant([[*o.long_side, *o.person_side, *astuple(o)[2:]] for o in options], tf.float32)


def pick_options(table: Tensor, source: Tensor) -> AugmentOptions:
    """Row `source` of `stack_options`, as options whose values are scalar tensors."""
    import tensorflow as tf

    values = tf.unstack(table[source])
    return AugmentOptions((values[0], values[1]), (values[2], values[3]), *values[4:])


def draw(seed: Tensor) -> dict[str, Tensor]:
    """Everything random about the sample with this seed (int64 ``[2]``): uniform numbers in [0, 1), by name."""
    import tensorflow as tf

    # The generator is named: the automatic choice differs between devices.
    numbers = tf.random.stateless_uniform([len(_DRAWS)], seed, alg="philox")
    return dict(zip(_DRAWS, tf.unstack(numbers), strict=True))


def draw_affine(
    boxes: Tensor, picture: Tensor, side: int, options: AugmentOptions, draws: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The affine map from source pixels to input pixels, whether it mirrors, and the person it was made for.

    Args:
        boxes: float32 ``[N, 4]`` of the labelled people in source pixels; without any, the crop is around the
            picture's middle.
        picture: float32 ``[2]``, width and height of the source picture.
        side: width and height of the network input.

    Returns:
        a 2x3 matrix that acts on pixel centres, the mirror flag (keypoints must swap sides then), and the chosen
        box ``[4]`` in source pixels, of width and height 0 if there is nobody.
    """
    import tensorflow as tf

    box, anybody = _choose_box(boxes, draws)
    low, high = (tf.math.log(tf.maximum(tf.cast(bound, tf.float32), _LONG_LIMIT)) for bound in options.long_side)
    scale = tf.exp(low + draws["scale"] * (high - low)) / tf.reduce_max(picture)
    person = tf.maximum(tf.reduce_max(box[2:]), 1.0)
    fitting = _clip(scale, options.person_side[0] / person, options.person_side[1] / person)
    scale = tf.where(anybody, fitting, scale)
    inside = 0.3 + 0.4 * tf.stack([draws["center_x"], draws["center_y"]])
    center = tf.where(anybody, box[:2] + box[2:] * inside, picture / 2 - 0.5)
    mirror = draws["mirror"] < options.flip
    linear = scale * _rotation(options.rotation, draws) * tf.where(mirror, [[-1.0], [1.0]], [[1.0], [1.0]])
    stray = 2 * tf.stack([draws["shift_x"], draws["shift_y"]]) - 1
    target = (side - 1) / 2 + stray * options.jitter * side
    target = _keep_filled(target, linear, center, picture, side)
    offset = target - tf.linalg.matvec(linear, center)
    return tf.concat([linear, offset[:, None]], axis=1), mirror, box


def _choose_box(boxes: Tensor, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    import tensorflow as tf

    count = tf.shape(boxes)[0]
    index = tf.minimum(tf.cast(draws["person"] * tf.cast(count, tf.float32), tf.int32), tf.maximum(count - 1, 0))
    return tf.concat([boxes, tf.zeros([1, 4])], axis=0)[index], count > 0


def _rotation(limit: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """A rotation by a normally distributed angle, two standard deviations within the limit in degrees."""
    import tensorflow as tf

    radius = tf.sqrt(-2 * tf.math.log(1 - draws["angle_radius"]))  # Box-Muller
    normal = radius * tf.cos(2 * math.pi * draws["angle_phase"])
    angle = _clip(normal / 2, -1.0, 1.0) * limit * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return tf.reshape(tf.stack([cos, -sin, sin, cos]), [2, 2])


def _keep_filled(target: Tensor, linear: Tensor, center: Tensor, picture: Tensor, side: int) -> Tensor:
    """Slide the crop so that it shows no more padding than it must, as a served picture wouldn't either."""
    import tensorflow as tf

    corners = tf.constant([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) * picture - 0.5 - center
    mapped = tf.matmul(corners, linear, transpose_b=True) + target
    before, after = -tf.reduce_min(mapped, 0) - 0.5, side - 0.5 - tf.reduce_max(mapped, 0)
    return target + _clip(tf.zeros(2), tf.minimum(before, after), tf.maximum(before, after))


def _clip(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    import tensorflow as tf

    return tf.minimum(tf.maximum(value, low), high)


def jitter_color(image: Tensor, options: AugmentOptions, draws: dict[str, Tensor]) -> Tensor:
    """Brightness, contrast, saturation, hue; now and then grey, blurred or with JPEG artefacts.

    Args:
        image: float32 ``[S, S, 3]`` in 0..255.

    Returns:
        uint8 ``[S, S, 3]``.
    """
    import tensorflow as tf

    shape = image.shape
    mix, bias = _color_map(options, draws)
    # +0.5: the cast cuts off
    pixels = tf.nn.bias_add(tf.matmul(tf.reshape(image, [-1, 3]), mix), bias + 0.5)
    result = tf.reshape(tf.saturate_cast(pixels, tf.uint8), shape)
    result = tf.cond(draws["degrade"] < options.degrade, lambda: _degrade(result, draws), lambda: result)
    return tf.ensure_shape(result, shape)


def _color_map(options: AugmentOptions, draws: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """All of it is linear: ``pixel @ [3, 3] + [3]``."""
    import tensorflow as tf

    def spread(name: str, width: float) -> Tensor:
        return (2 * draws[name] - 1) * width * options.color

    saturation = tf.where(draws["gray"] < options.gray, 0.0, 1 + spread("saturation", 1.5))
    contrast, brightness = 1 + spread("contrast", 1.0), spread("brightness", 127.0)
    gains = 1 + tf.stack([spread(channel, 0.3) for channel in ("red", "green", "blue")])
    gray = tf.tile(tf.constant(_LUMINANCE)[:, None], [1, 3])
    mix = saturation * tf.eye(3) + (1 - saturation) * gray
    return mix * contrast * gains, (127 * (1 - contrast) + brightness) * gains


def _degrade(image: Tensor, draws: dict[str, Tensor]) -> Tensor:
    import tensorflow as tf

    def compressed() -> Tensor:
        quality = tf.cast(25 + draws["amount"] * 55, tf.int32)
        return tf.io.decode_jpeg(tf.raw_ops.EncodeJpegVariableQuality(images=image, quality=quality), channels=3)

    return tf.cond(draws["blur_or_jpeg"] < 0.5, lambda: _blur(image, 0.4 + draws["amount"] * 1.2), compressed)


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of a uint8 picture, its edges repeated outwards."""
    import tensorflow as tf

    steps = tf.range(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=tf.float32)
    kernel = tf.nn.softmax(-tf.square(steps / sigma) / 2)
    pixels = tf.cast(image, tf.float32)[None]
    edge = [_BLUR_RADIUS, _BLUR_RADIUS]
    for axis in (1, 2):
        paddings = [[0, 0], edge if axis == 1 else [0, 0], edge if axis == 2 else [0, 0], [0, 0]]
        shape = [-1, 1, 1, 1] if axis == 1 else [1, -1, 1, 1]
        weights = tf.tile(tf.reshape(kernel, shape), [1, 1, 3, 1])
        pixels = tf.nn.depthwise_conv2d(tf.pad(pixels, paddings, "SYMMETRIC"), weights, [1, 1, 1, 1], "VALID")
    return tf.saturate_cast(pixels[0] + 0.5, tf.uint8)


def cut_out(image: Tensor, box: Tensor, matrix: Tensor, options: AugmentOptions, draws: dict[str, Tensor]) -> Tensor:
    """Hide a fifth to a half of the chosen person's long side under a grey square; labels stay, as of occluded joints.

    Args:
        image: uint8 ``[S, S, 3]``; box, matrix: as `draw_affine` gives them.
    """
    import tensorflow as tf

    scale = tf.sqrt(tf.abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    place = tf.stack([draws["cutout_x"], draws["cutout_y"]])
    center = tf.linalg.matvec(matrix[:, :2], box[:2] + box[2:] * place) + matrix[:, 2]
    half = tf.reduce_max(box[2:]) * scale * (0.1 + 0.15 * draws["cutout_size"])
    half = tf.where(draws["cutout"] < options.cutout, half, -1.0)
    steps = tf.range(image.shape[0], dtype=tf.float32)
    hidden = (tf.abs(steps - center[1]) <= half)[:, None] & (tf.abs(steps - center[0]) <= half)[None, :]
    return tf.where(hidden[..., None], tf.constant(PAD_VALUE, tf.uint8), image)
