"""Our bundle on each engine, and networks of other systems' shape, at one input shape."""

from __future__ import annotations

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
    """The networks in TensorFlow at 288x384; ours with its decoder, the others alone."""
    from benchmarks import peers

    engine = load_engine(bundle, "tensorflow")
    images = prepare(crowd(1), PoseOptions(LONG_SIDE), bundle.manifest.shapes).images
    shape = (images.shape[1], images.shape[2])
    calls: dict[str, Callable[[], object]] = {bundle.manifest.name: lambda: engine.pose(images)}
    for build in (peers.lightweight_openpose, peers.openpose_vgg19):
        model = build()
        calls[f"{model.name} shape"] = peers.in_tensorflow(model, shape)
    return side_by_side(calls, runs, warm_up=2)
