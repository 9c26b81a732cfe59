"""One LiteRT file with static graphs for many shapes, which share their weights.

Each shape is converted to graphs of its own, since LiteRT is fast only where it knows every size beforehand: one of the
network and one of the decoder, which are then chained (`trainer.litert_merge`). The converter reads the SavedModel, not
the Keras model, so that several processes can share the work and only the network need be quantised.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.bundle import LiteRTWeights
from shared.cores import usable_cores
from shared.geometry import Shape
from trainer.litert_merge import Merged, store_weights_as_float16

_SHAPES_AT_ONCE = 6  # bounds the memory: each takes some hundred megabytes while it is converted
_MOST_PROCESSES = 4
_CALIBRATION_PICTURES = 24  # of each shape; ranges hardly change with more


@dataclass(frozen=True)
class Conversion:
    """What is converted, and how.

    Attributes:
        saved_model: has the signatures ``fields`` and ``decode``.
        stride: input pixels per cell of the fields.
        channels: of heatmaps and of PAFs.
        weights: how the network's weights are stored. ``int8`` quantises the network and leaves the decoder float32.
        calibration: pictures by which the ranges of activations are found, so that the network computes in int8;
            without any, only the weights are int8.
    """

    saved_model: Path
    stride: int
    channels: tuple[int, int]
    weights: LiteRTWeights = "float16"
    calibration: tuple[Path, ...] = ()


def convert(conversion: Conversion, shapes: Sequence[Shape], progress: Callable[[int], object] | None = None) -> bytes:
    """The content of a LiteRT file with the signatures ``pose_HxW``, ``fields_HxW`` and ``decode_HxW`` for every shape.

    Args:
        conversion: of what.
        shapes: (height, width) of the network inputs.
        progress: called with the number of shapes done.
    """
    merged, done = Merged(), 0
    for part, files in _parts(conversion, shapes):
        for file in files:
            merged.add(file)
        for shape in part:
            merged.chain(named("fields", shape), named("decode", shape), named("pose", shape))
        done += len(part)
        if progress:
            progress(done)
    if conversion.weights == "float16":
        store_weights_as_float16(merged.model)
    return merged.pack()


def named(task: str, shape: Shape) -> str:
    """Name of the signature for a task at a shape (height, width)."""
    return f"{task}_{shape[0]}x{shape[1]}"


def _parts(conversion: Conversion, shapes: Sequence[Shape]) -> Iterator[tuple[Sequence[Shape], list[bytes]]]:
    """Groups of shapes with their converted networks and decoders, in order."""
    parts = [shapes[start : start + _SHAPES_AT_ONCE] for start in range(0, len(shapes), _SHAPES_AT_ONCE)]
    processes = min(len(parts), usable_cores(), _MOST_PROCESSES)
    if processes == 1:
        yield from ((part, _convert_part(conversion, part)) for part in parts)
        return
    # TensorFlow does not survive a fork.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from zip(parts, pool.map(_convert_part, [conversion] * len(parts), parts), strict=True)


def _convert_part(conversion: Conversion, shapes: Sequence[Shape]) -> list[bytes]:
    import tensorflow as tf

    model = tf.saved_model.load(str(conversion.saved_model))
    variables = tf.Module()
    variables.weights = list(model.weights)  # without the model's own signatures, which would be saved each time
    fields = {named("fields", shape): _fields_at(model, shape) for shape in shapes}
    decoders = {named("decode", shape): _decoder_at(model, shape, conversion) for shape in shapes}
    return [_convert(variables, fields, conversion, shapes), _convert(variables, decoders)]


def _fields_at(model: Any, shape: Shape) -> Any:
    import tensorflow as tf

    call = model.signatures["fields"]
    return tf.function(lambda images: call(images=images)).get_concrete_function(
        tf.TensorSpec((1, *shape, 3), tf.uint8, "images")
    )


def _decoder_at(model: Any, shape: Shape, conversion: Conversion) -> Any:
    import tensorflow as tf

    call = model.signatures["decode"]
    cells = [side // conversion.stride for side in shape]
    heatmaps, pafs = (
        tf.TensorSpec((1, *cells, channels), tf.float32, name)
        for channels, name in zip(conversion.channels, ("heatmaps", "pafs"), strict=True)
    )
    return tf.function(lambda heatmaps, pafs: call(heatmaps=heatmaps, pafs=pafs)).get_concrete_function(heatmaps, pafs)


def _convert(
    variables: Any, functions: dict[str, Any], quantised: Conversion | None = None, shapes: Sequence[Shape] = ()
) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(variables, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        if quantised and quantised.weights == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if quantised.calibration:
                converter.representative_dataset = lambda: _calibration_inputs(quantised.calibration, shapes)
        return converter.convert()


def _calibration_inputs(pictures: Sequence[Path], shapes: Sequence[Shape]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pictures as the service would show them to each shape's graph, with the name of its signature."""
    from shared.images import decode_image
    from shared.inference.estimator import PoseOptions, prepare

    for picture in pictures[:_CALIBRATION_PICTURES]:
        image = decode_image(picture.read_bytes())
        for shape in shapes:
            prepared = prepare(image, PoseOptions(long_side=max(shape)), (shape,))
            yield named("fields", shape), {"images": prepared.images}
