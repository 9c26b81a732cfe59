"""A tiny network whose keypoints are blobs of colour, and the bundle it exports to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle, Manifest
from shared.skeleton import BODY_18

if TYPE_CHECKING:
    import keras

STRIDE = 4
SHAPES = ((96, 128), (128, 64))


def build(seed: int = 0) -> keras.Model:
    """Heatmap k answers to bright spots in colour ``k % 3``; PAFs are a smooth function of the picture."""
    import keras
    from keras import layers

    from trainer.models.layers import Normalize, ResizeLike, as_float32, conv_bn, depthwise_bn

    keras.utils.set_random_seed(seed)
    images = keras.Input((None, None, 3), name="images")
    pooled = layers.AveragePooling2D(STRIDE)(Normalize()(images))
    deep = conv_bn(depthwise_bn(conv_bn(pooled, 16, "wide"), "deep", strides=2), 16, "narrow")
    context = ResizeLike()([deep, pooled])
    spots = np.zeros((1, 1, 3, BODY_18.num_keypoints), np.float32)
    spots[0, 0, np.arange(BODY_18.num_keypoints) % 3, np.arange(BODY_18.num_keypoints)] = 5
    fixed = layers.Conv2D(BODY_18.num_keypoints, 1, bias_initializer=keras.initializers.Constant(-1.5), name="spots")
    logits = layers.Add()([fixed(pooled), layers.Conv2D(BODY_18.num_keypoints, 3, padding="same")(context)])
    heatmaps = as_float32(layers.Activation("sigmoid", dtype="float32")(logits), "heatmaps")
    turned = keras.initializers.RandomNormal(stddev=0.7)  # some direction on the whole, so that there are limbs
    pafs = layers.Conv2D(2 * BODY_18.num_limbs, 3, padding="same", bias_initializer=turned)(context)
    model = keras.Model(images, {"heatmaps": heatmaps, "pafs": as_float32(pafs, "pafs")})
    fixed.set_weights([spots, fixed.get_weights()[1]])
    return model


def manifest(name: str = "blobs") -> Manifest:
    """What the bundle says about itself."""
    return Manifest(
        name=name, version="1", skeleton=BODY_18.name, stride=STRIDE, shapes=SHAPES, max_peaks=24,
        licence="Apache-2.0", created="2026-01-01T00:00:00+00:00", architecture="blobs",
    )  # fmt: skip


def export(destination: Path) -> Bundle:
    """Write the bundle of the network."""
    from trainer.export import export_bundle

    return export_bundle(build(), manifest(), destination)


def picture(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Four soft spots of each colour on black, uint8 ``[1, H, W, 3]``."""
    random = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3))
    for color in range(3):
        for brightness in (255, 225, 195, 165):
            y, x = random.uniform(8, (height - 8, width - 8))
            spot = brightness * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 6.0**2))
            image[..., color] = np.maximum(image[..., color], spot)
    return image.astype(np.uint8)[None]
