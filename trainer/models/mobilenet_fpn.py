"""`mobilenet_fpn`: MobileNetV2 trunk, feature pyramid to stride 4, heads for heatmaps and PAFs.

The trunk (width 1.5), the narrow pyramid and the first heatmap head have the shape of MoveNet MultiPose
Lightning, so that its weights can be loaded into them (`trainer.movenet`). What is ours stands beside:
a wider pyramid from the same taps, the PAF head, and a correction that is added to the heatmap logits
(zero-initialised, so an imported network starts from MoveNet's own heatmaps).
"""

from __future__ import annotations

import keras
from keras import layers

from shared.skeleton import COCO_17_KEYPOINTS, Skeleton
from trainer.models.layers import (
    Normalize,
    ResizeLike,
    Tensor,
    as_float32,
    conv_bn,
    depthwise_bn,
    residual_separable,
    separable_bn,
)

STRIDE = 4

# (block number, expansion, output channels, stride); channels are MobileNetV2's times 1.5.
TRUNK_BLOCKS = (
    (1, 6, 40, 2), (2, 6, 40, 1),
    (3, 6, 48, 2), (4, 6, 48, 1), (5, 6, 48, 1),
    (6, 6, 96, 2), (7, 6, 96, 1), (8, 6, 96, 1), (9, 6, 96, 1),
    (10, 6, 144, 1), (11, 6, 144, 1), (12, 6, 144, 1),
    (13, 6, 240, 2), (14, 6, 240, 1), (15, 6, 240, 1), (16, 6, 480, 1),
)  # fmt: skip
TAPS = {2: "stride 4", 5: "stride 8", 9: "stride 16"}


def trunk(x: Tensor) -> list[Tensor]:
    """Feature maps at strides 4, 8, 16 and 32 (40, 48, 96 and 1280 channels) of normalised images."""
    x = conv_bn(x, 48, "stem", kernel=3, strides=2, activation="relu6", frozen_statistics=True)
    x = depthwise_bn(x, "block_0_depthwise", activation="relu6", frozen_statistics=True)
    x = conv_bn(x, 24, "block_0_project", activation=None, frozen_statistics=True)
    taps = []
    for number, expansion, filters, strides in TRUNK_BLOCKS:
        x = _inverted_residual(x, f"block_{number}", expansion, filters, strides)
        if number in TAPS:
            taps.append(x)
    taps.append(conv_bn(x, 1280, "trunk_out", activation="relu6", frozen_statistics=True))
    return taps


def _inverted_residual(x: Tensor, name: str, expansion: int, filters: int, strides: int) -> Tensor:
    y = conv_bn(x, expansion * int(x.shape[-1]), f"{name}_expand", activation="relu6", frozen_statistics=True)
    y = depthwise_bn(y, f"{name}_depthwise", strides=strides, activation="relu6", frozen_statistics=True)
    y = conv_bn(y, filters, f"{name}_project", activation=None, frozen_statistics=True)
    return layers.Add(name=f"{name}_add")([x, y]) if x.shape[-1] == filters and strides == 1 else y


def narrow_pyramid(taps: list[Tensor]) -> Tensor:
    """MoveNet's pyramid: 24 channels at stride 4."""
    x = _lateral(taps[3], 64, 5)
    for level, tap, lateral, filters in ((4, taps[2], 64, 32), (3, taps[1], 32, 24), (2, taps[0], 24, 24)):
        x = ResizeLike(name=f"narrow_up_{level}")([x, tap])
        x = layers.Add(name=f"narrow_add_{level}")([x, _lateral(tap, lateral, level)])
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"narrow_{level}_depthwise")(x)
        x = conv_bn(x, filters, f"narrow_{level}_pointwise", frozen_statistics=True)
    return x


def _lateral(tap: Tensor, filters: int, level: int) -> Tensor:
    return conv_bn(tap, filters, f"narrow_lateral_{level}", activation=None, frozen_statistics=True)


def coco_heatmap_logits(x: Tensor) -> Tensor:
    """MoveNet's keypoint head: logits of the 17 COCO keypoints, in COCO's order."""
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="coco_head_depthwise")(x)
    x = conv_bn(x, 96, "coco_head_pointwise", frozen_statistics=True)
    return layers.Conv2D(len(COCO_17_KEYPOINTS), 1, name="coco_head_logits")(x)


def wide_pyramid(taps: list[Tensor], extra: list[Tensor], width: int) -> Tensor:
    """Our pyramid: `width` channels at stride 4; most context is gathered at stride 8, where it is cheap."""
    deep = 2 * width
    x = conv_bn(taps[3], deep, "wide_lateral_5")
    x = _merge(x, taps[2], deep, 4)
    x = residual_separable(x, "wide_4_context")
    x = _merge(x, taps[1], deep, 3)
    for i in range(4):
        x = residual_separable(x, f"wide_3_context_{i}")
    x = conv_bn(x, width, "wide_3_reduce")
    x = _merge(x, taps[0], width, 2, extra)
    return residual_separable(x, "wide_2_context")


def _merge(x: Tensor, tap: Tensor, filters: int, level: int, extra: list[Tensor] | None = None) -> Tensor:
    lateral_in = layers.Concatenate(name=f"wide_concat_{level}")([tap, *extra]) if extra else tap
    lateral = conv_bn(lateral_in, filters, f"wide_lateral_{level}", activation=None)
    x = ResizeLike(name=f"wide_up_{level}")([x, tap])
    x = layers.Add(name=f"wide_add_{level}")([x, lateral])
    return separable_bn(x, filters, f"wide_{level}")


def build_mobilenet_fpn(skeleton: Skeleton, *, width: int = 64) -> keras.Model:
    """The network as a Keras model.

    Args:
        skeleton: decides the output channels. Its keypoints that COCO has start from the COCO head's
            logits; the others from the correction alone.
        width: channels of our pyramid at stride 4.

    Returns:
        A model from images float32 ``[B, H, W, 3]`` in 0..255, H and W multiples of 32, to
        ``{"heatmaps": [B, H/4, W/4, K] in 0..1, "pafs": [B, H/4, W/4, 2L]}``, both float32.
    """
    images = keras.Input((None, None, 3), name="images")
    taps = trunk(Normalize(name="normalize")(images))
    narrow = narrow_pyramid(taps)
    coco_logits = coco_heatmap_logits(narrow)
    extra = [narrow, layers.Activation("sigmoid", name="coco_head_sigmoid")(coco_logits)]
    features = wide_pyramid(taps, extra, width)

    correction = separable_bn(features, width, "heatmap_head")
    correction = layers.Conv2D(skeleton.num_keypoints, 1, kernel_initializer="zeros", name="heatmap_correction")(
        correction
    )
    prior = layers.Conv2D(
        skeleton.num_keypoints, 1, kernel_initializer=_permutation(skeleton), name="heatmap_prior",
        bias_initializer=_prior_bias(skeleton), trainable=False,
    )(coco_logits)  # fmt: skip
    logits = layers.Add(name="heatmap_logits")([prior, correction])
    heatmaps = as_float32(layers.Activation("sigmoid", dtype="float32")(logits), "heatmaps")

    paf = separable_bn(features, 3 * width // 2, "paf_head")
    paf = layers.Conv2D(2 * skeleton.num_limbs, 1, kernel_initializer="zeros", name="paf_output")(paf)
    outputs = {"heatmaps": heatmaps, "pafs": as_float32(paf, "pafs")}
    return keras.Model(images, outputs, name="mobilenet_fpn")


@keras.saving.register_keras_serializable("yaop")
class _Table(keras.initializers.Initializer):
    """A fixed array as an initializer."""

    def __init__(self, values: list[float], shape: tuple[int, ...]) -> None:
        self.values, self.shape = values, tuple(shape)  # a saved model brings it back as a list

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Tensor:
        if tuple(shape) != self.shape:
            raise ValueError(f"table of shape {self.shape} cannot initialise a weight of shape {tuple(shape)}")
        return keras.ops.reshape(keras.ops.convert_to_tensor(self.values, dtype), shape)

    def get_config(self) -> dict[str, object]:
        return {"values": self.values, "shape": self.shape}


def _permutation(skeleton: Skeleton) -> keras.initializers.Initializer:
    """COCO order to the skeleton's, as a 1x1 kernel (XNNPACK runs it; a channel gather it does not)."""
    rows, columns = len(COCO_17_KEYPOINTS), skeleton.num_keypoints
    table = [1.0 if name == kept else 0.0 for name in COCO_17_KEYPOINTS for kept in skeleton.keypoints]
    return _Table(table, (1, 1, rows, columns))


def _prior_bias(skeleton: Skeleton) -> keras.initializers.Initializer:
    """Keypoints that COCO lacks start as 'nowhere': a logit of -4."""
    values = [0.0 if name in COCO_17_KEYPOINTS else -4.0 for name in skeleton.keypoints]
    return _Table(values, (skeleton.num_keypoints,))
