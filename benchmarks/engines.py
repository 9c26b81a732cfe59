"""Our bundle on each engine, and networks of other systems' shape, at one input shape."""

from __future__ import annotations

import os
from collections.abc import Callable

from benchmarks.pictures import crowd
from benchmarks.timing import Timing, side_by_side
from shared.bundle import Bundle
from shared.inference.engine import load_engine
from shared.inference.estimator import PoseOptions, prepare

LONG_SIDE = 384


def compare_engines(bundle: Bundle, runs: int = 30) -> dict[str, Timing]:
    """Network and decoder of the bundle on a 640x480 picture at 384, on every engine that is installed."""
    engines = [load_engine(bundle, "litert"), load_engine(bundle, "tensorflow")]
    images = prepare(crowd(1), PoseOptions(LONG_SIDE), bundle.manifest.shapes).images
    calls: dict[str, Callable[[], object]] = {
        f"{bundle.manifest.name}, {engine.name}": lambda engine=engine: engine.pose(images) for engine in engines
    }
    return side_by_side(calls, runs)


def compare_peers(bundle: Bundle, runs: int = 8) -> dict[str, Timing]:
    """The networks alone, in LiteRT and in TensorFlow, at 288x384."""
    import tensorflow as tf

    from benchmarks import peers

    tf.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)
    engine = load_engine(bundle, "litert")
    images = prepare(crowd(1), PoseOptions(LONG_SIDE), bundle.manifest.shapes).images
    shape = (images.shape[1], images.shape[2])
    calls: dict[str, Callable[[], object]] = {
        f"{bundle.manifest.name}, litert": lambda: engine.fields(images),
    }
    for build in (peers.lightweight_openpose, peers.openpose_vgg19):
        model = build()
        calls[f"{model.name} shape, litert"] = peers.in_litert(model, shape)
        calls[f"{model.name} shape, tensorflow"] = peers.in_tensorflow(model, shape)
    return side_by_side(calls, runs, warm_up=2)
