"""The LiteRT engine: the bundle's TFLite file, run by XNNPACK on the CPU. Needs no TensorFlow.

The file holds one graph per listed shape and one copy of the weights. An interpreter would prepare every graph of the
file it is given, so each gets a copy of the file in which only its own graph is left (`shared.inference.tflite_file`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.cores import usable_cores
from shared.geometry import Shape
from shared.inference.engine import EngineError, Fields, PoseArrays, check_fields, check_images
from shared.inference.tflite_file import TFLiteFile

_MEMORY_KEPT = 220_000_000
"""Bytes that the loaded graphs may take together; a single one may take more."""

_COPIES_OF_FILE = 3  # the file itself, and its float16 weights unpacked to float32
_BYTES_PER_PIXEL = 300  # of the network input, for what lies between the layers


class _Graph(NamedTuple):
    interpreter: Any
    memory: int


class LiteRTEngine:
    """Runs a bundle with LiteRT; see `shared.inference.engine.Engine`.

    Graphs are loaded when their shape is first used, and the least recently used ones are let go.
    """

    name = "litert"

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        if bundle.litert is None:
            raise EngineError(f"{bundle.path}: this bundle has no LiteRT file; use the engine 'tensorflow'")
        self.shapes: tuple[Shape, ...] = bundle.manifest.shapes
        self._stride = bundle.manifest.stride
        self._threads = threads or usable_cores()
        self._interpreter = _interpreter_class()
        self._file = _read(bundle.litert)
        self._graphs: OrderedDict[int, _Graph] = OrderedDict()
        self._lock = Lock()  # one inference at a time: each already uses all threads
        missing = [shape for shape in self.shapes if _signature("pose", shape) not in self._file.signatures]
        if missing:
            raise EngineError(f"{bundle.litert}: has no graph for the input shapes {missing}")

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        """Peaks and limb scores of RGB pictures uint8 ``[B, H, W, 3]``."""
        shape = check_images(images, self.shapes)
        results = [self._run("pose", shape, images=image[None]) for image in images]
        return PoseArrays(*(_join(results, name) for name in PoseArrays._fields))

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        """Heatmaps and PAFs of RGB pictures uint8 ``[B, H, W, 3]``."""
        shape = check_images(images, self.shapes)
        results = [self._run("fields", shape, images=image[None]) for image in images]
        return Fields(*(_join(results, name) for name in Fields._fields))

    def decode(self, fields: Fields) -> PoseArrays:
        """Peaks and limb scores of fields."""
        shape = check_fields(fields, self._stride, self.shapes)
        results = [
            self._run("decode", shape, heatmaps=heatmaps[None], pafs=pafs[None])
            for heatmaps, pafs in zip(*fields, strict=True)
        ]
        return PoseArrays(*(_join(results, name) for name in PoseArrays._fields))

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        """Load the graphs of these shapes, the first ones first, as far as memory goes, and run each once."""
        for height, width in shapes:
            image = np.zeros((1, height, width, 3), np.uint8)
            if self._graphs and self._needed(check_images(image, self.shapes)) + self._used() > _MEMORY_KEPT:
                return
            self.pose(image)

    def close(self) -> None:
        """Let go of all graphs."""
        with self._lock:
            self._graphs.clear()

    def _run(self, task: str, shape: Shape, **inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        signature = _signature(task, shape)
        inputs = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        with self._lock:
            return self._graph(signature, shape).interpreter.get_signature_runner(signature)(**inputs)

    def _graph(self, signature: str, shape: Shape) -> _Graph:
        """The graph that a signature belongs to, loaded if it is not."""
        index = self._file.signatures[signature]
        if index not in self._graphs:
            memory = self._needed(shape)
            while self._graphs and memory + self._used() > _MEMORY_KEPT:
                self._graphs.popitem(last=False)
            interpreter = self._interpreter(model_content=self._file.only(index), num_threads=self._threads)
            self._graphs[index] = _Graph(interpreter, memory)
        self._graphs.move_to_end(index)
        return self._graphs[index]

    def _needed(self, shape: Shape) -> int:
        """Bytes that a graph of this shape takes, about."""
        return _COPIES_OF_FILE * self._file.size + _BYTES_PER_PIXEL * shape[0] * shape[1]

    def _used(self) -> int:
        return sum(graph.memory for graph in self._graphs.values())


_files: WeakValueDictionary[tuple[Path, int, int], TFLiteFile] = WeakValueDictionary()


def _read(path: Path) -> TFLiteFile:
    """The file, which engines of the same bundle share."""
    try:
        status = path.stat()
        key = path.resolve(), status.st_mtime_ns, status.st_size
        file = _files.get(key) or TFLiteFile(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: {error}") from error
    _files[key] = file
    return file


def _signature(task: str, shape: Shape) -> str:
    return f"{task}_{shape[0]}x{shape[1]}"


def _join(results: list[dict[str, NDArray[np.float32]]], name: str) -> NDArray[np.float32]:
    return np.concatenate([result[name] for result in results])


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise EngineError("the engine 'litert' needs the package ai-edge-litert, which is not installed") from error
    return Interpreter
