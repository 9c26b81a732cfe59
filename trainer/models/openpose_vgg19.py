"""`openpose_vgg19`: the paper's network (arXiv 1812.08008, section 3.1 and figure 3).

The first ten convolutions of VGG-19 and two of our own give 128 channels at stride 8. Four stages refine
the PAFs, then two stages the heatmaps, each on the features and what came before. Every stage has a loss.
A 7x7 convolution of older versions is three 3x3 ones here, their outputs concatenated.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from shared.skeleton import Skeleton
from trainer.models.layers import Tensor, as_float32

STRIDE = 8
PAF_STAGES = 4
HEATMAP_STAGES = 2

# VGG-19's first ten convolutions: (block, convolutions, channels); a max-pool follows blocks 1 to 3.
_VGG_BLOCKS = ((1, 2, 64), (2, 2, 128), (3, 4, 256), (4, 2, 512))
_BGR_MEAN = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("yaop")
class CaffeNormalize(layers.Layer):
    """RGB 0..255 to what VGG's ImageNet weights expect: BGR minus the ImageNet mean."""

    def call(self, images: Tensor) -> Tensor:
        """Map float images ``[B, H, W, 3]``."""
        bgr = ops.flip(ops.cast(images, "float32"), axis=-1)
        return ops.cast(bgr - ops.convert_to_tensor(_BGR_MEAN, "float32"), self.compute_dtype)


def build_openpose_vgg19(
    skeleton: Skeleton, *, imagenet: bool = False, stage_width: int = 128, block_width: int = 96
) -> keras.Model:
    """The paper's network as a Keras model.

    Args:
        imagenet: load VGG-19's ImageNet weights through `keras.applications` (needs the network once).
        stage_width: channels of the layer before a stage's output in stages after the first of a kind.
        block_width: channels of each 3x3 convolution inside a stage's blocks.

    Returns:
        A model from images float32 ``[B, H, W, 3]`` in 0..255, H and W multiples of 8, to a dict: the
        last stage's ``heatmaps [B, H/8, W/8, K]`` and ``pafs [B, H/8, W/8, 2L]``, and the earlier
        stages' outputs ``pafs_0 ...`` and ``heatmaps_0 ...`` for intermediate supervision. All float32.
    """
    images = keras.Input((None, None, 3), name="images")
    features = _features(CaffeNormalize(name="normalize")(images))
    pafs: list[Tensor] = []
    for stage in range(PAF_STAGES):
        x = layers.Concatenate(name=f"paf_{stage}_in")([features, pafs[-1]]) if pafs else features
        pafs.append(_stage(x, f"paf_{stage}", 2 * skeleton.num_limbs, block_width, 4 * stage_width if stage else 256))
    heatmaps: list[Tensor] = []
    for stage in range(HEATMAP_STAGES):
        x = layers.Concatenate(name=f"heatmap_{stage}_in")([features, pafs[-1], *heatmaps[-1:]])
        heatmaps.append(_stage(x, f"heatmap_{stage}", skeleton.num_keypoints, block_width, 4 * stage_width))
    # The paper regresses heatmaps without a squashing function; the export cuts them to 0..1.
    outputs = {f"pafs_{i}": as_float32(x, f"pafs_{i}") for i, x in enumerate(pafs[:-1])}
    outputs |= {f"heatmaps_{i}": as_float32(x, f"heatmaps_{i}") for i, x in enumerate(heatmaps[:-1])}
    outputs |= {"pafs": as_float32(pafs[-1], "pafs"), "heatmaps": as_float32(heatmaps[-1], "heatmaps")}
    model = keras.Model(images, outputs, name="openpose_vgg19")
    if imagenet:
        load_imagenet(model)
    return model


def _features(x: Tensor) -> Tensor:
    for block, convolutions, channels in _VGG_BLOCKS:
        for i in range(1, convolutions + 1):
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
        if block < len(_VGG_BLOCKS):
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = _conv_prelu(x, 256, 3, "features_0")
    return _conv_prelu(x, 128, 3, "features_1")


def _conv_prelu(x: Tensor, filters: int, kernel: int, name: str) -> Tensor:
    x = layers.Conv2D(filters, kernel, padding="same", name=name)(x)
    return layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(x)


def _stage(x: Tensor, name: str, outputs: int, block_width: int, hidden: int) -> Tensor:
    for block in range(5):
        parts = []
        for i in range(3):
            x = _conv_prelu(x, block_width, 3, f"{name}_block_{block}_{i}")
            parts.append(x)
        x = layers.Concatenate(name=f"{name}_block_{block}")(parts)
    x = _conv_prelu(x, hidden, 1, f"{name}_hidden")
    return layers.Conv2D(outputs, 1, name=f"{name}_output")(x)


def load_imagenet(model: keras.Model) -> None:
    """Copy VGG-19's ImageNet weights into the first ten convolutions (downloads them once)."""
    source = keras.applications.VGG19(include_top=False, weights="imagenet")
    for block, convolutions, _ in _VGG_BLOCKS:
        for i in range(1, convolutions + 1):
            name = f"block{block}_conv{i}"
            model.get_layer(name).set_weights(source.get_layer(name).get_weights())
