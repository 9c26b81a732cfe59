"""Networks of other systems' shape, with random weights, to place ours in scale.

Speed does not depend on the weights. Lightweight OpenPose (arXiv 1811.12004) is drawn from its paper:
MobileNet v1 up to conv5_5 with the stride of the last stages replaced by dilation, a CPM block, an initial
stage and one refinement stage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from shared.geometry import Shape
from shared.skeleton import BODY_18
from trainer.models.layers import Normalize, conv_bn, depthwise_bn
from trainer.models.registry import build_network

HEATMAPS, PAFS = 19, 38  # Lightweight OpenPose has a background channel

# MobileNet v1 as Lightweight OpenPose uses it: (channels, stride, dilation) of each depthwise separable block.
_BLOCKS = (
    (64, 1, 1), (128, 2, 1), (128, 1, 1), (256, 2, 1), (256, 1, 1), (512, 1, 1),
    (512, 1, 2), (512, 1, 1), (512, 1, 1), (512, 1, 1), (512, 1, 1),
)  # fmt: skip


def lightweight_openpose() -> keras.Model:
    """A network of Lightweight OpenPose's shape, one refinement stage."""
    images = keras.Input((None, None, 3))
    x = conv_bn(Normalize()(images), 32, "stem", kernel=3, strides=2)
    for i, (channels, stride, dilation) in enumerate(_BLOCKS):
        x = layers.DepthwiseConv2D(
            3, stride, "same", dilation_rate=dilation, use_bias=False, name=f"depthwise_{i}"
        )(x)  # fmt: skip
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = conv_bn(x, channels, f"pointwise_{i}")
    x = conv_bn(x, 128, "cpm_in")
    trunk = x
    for i in range(3):
        trunk = conv_bn(depthwise_bn(trunk, f"cpm_depthwise_{i}"), 128, f"cpm_{i}")
    features = conv_bn(layers.Add()([x, trunk]), 128, "cpm_out", kernel=3)
    initial = features
    for i in range(3):
        initial = conv_bn(initial, 128, f"initial_{i}", kernel=3)
    stage = [_head(initial, 512, f"initial_{part}", n) for part, n in (("heatmaps", HEATMAPS), ("pafs", PAFS))]
    refined = layers.Concatenate()([features, *stage])
    for i in range(5):
        first = conv_bn(refined, 128, f"refine_{i}_in")
        second = conv_bn(first, 128, f"refine_{i}_a", kernel=3)
        refined = layers.Add()([first, conv_bn(second, 128, f"refine_{i}_b", kernel=3)])
    outputs = [_head(refined, 128, f"refined_{part}", n) for part, n in (("heatmaps", HEATMAPS), ("pafs", PAFS))]
    return keras.Model(images, outputs, name="lightweight_openpose")


def _head(x: Any, hidden: int, name: str, channels: int) -> Any:
    return layers.Conv2D(channels, 1, name=name)(conv_bn(x, hidden, f"{name}_hidden"))


def openpose_vgg19() -> keras.Model:
    """The paper's network, with random weights."""
    return build_network("openpose_vgg19", BODY_18)


def in_tensorflow(model: keras.Model, shape: Shape) -> Callable[[], object]:
    """One inference of the network in TensorFlow, as a call without arguments."""
    function = tf.function(lambda images: model(images, training=False))
    images = tf.zeros((1, *shape, 3))
    return lambda: tf.nest.map_structure(lambda output: output.numpy(), function(images))
