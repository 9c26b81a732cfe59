"""The seam between the product and the runtimes that execute a bundle's network."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.errors import YaopError
from shared.geometry import Shape

EngineName = Literal["auto", "litert", "tensorflow"]


class EngineChoice(StrEnum):
    """Engines by name, for the command lines."""

    AUTO = "auto"
    LITERT = "litert"
    TENSORFLOW = "tensorflow"


class EngineError(YaopError):
    """An engine cannot be loaded, or was given what it cannot run."""


class PoseArrays(NamedTuple):
    """Keypoint candidates and limb scores of a batch of pictures.

    Attributes:
        peaks: float32 ``[B, K, P, 3]``: x and y in network-input pixels and the score, best first; score 0 marks an
            empty slot.
        limb_scores: float32 ``[B, L, P, P]``: row = slot of the limb's first keypoint, column = slot of its second;
            0 where there is no limb.
    """

    peaks: NDArray[np.float32]
    limb_scores: NDArray[np.float32]


class Fields(NamedTuple):
    """What the network itself returns for a batch of pictures.

    Attributes:
        heatmaps: float32 ``[B, h, w, K]`` in 0..1.
        pafs: float32 ``[B, h, w, 2L]``.
    """

    heatmaps: NDArray[np.float32]
    pafs: NDArray[np.float32]


class Engine(Protocol):
    """A loaded network. Its methods may be called from several threads."""

    @property
    def name(self) -> str:
        """``litert`` or ``tensorflow``."""
        ...

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The (height, width) of the network inputs that it takes."""
        ...

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        """Run the network and the decoder on RGB uint8 ``[B, H, W, 3]`` of a listed shape.

        Raises:
            EngineError: the shape is not listed, or the array is no batch of uint8 pictures.
        """
        ...

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        """Run the network alone on RGB uint8 ``[B, H, W, 3]`` of a listed shape; errors as in `pose`."""
        ...

    def decode(self, fields: Fields) -> PoseArrays:
        """Run the decoder alone; the fields are those of a listed shape, else EngineError."""
        ...

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        """Make the first real call with each of these shapes as fast as the later ones."""
        ...

    def close(self) -> None:
        """Give the memory back; the engine cannot be used after."""
        ...


def load_engine(bundle: Bundle, name: EngineName = "auto", threads: int = 0) -> Engine:
    """Load a bundle's network into a runtime.

    Args:
        bundle: the model.
        name: ``auto`` takes TensorFlow where it can use a GPU, else LiteRT, else TensorFlow.
        threads: CPU threads of one inference; 0 for one per core.

    Raises:
        EngineError: the runtime's package is not installed, or the bundle has no file for it.
    """
    if name == "auto":
        name = _pick(bundle)
    if name == "litert":
        from shared.inference.litert import LiteRTEngine

        return LiteRTEngine(bundle, threads)
    if name == "tensorflow":
        from shared.inference.tensorflow import TensorFlowEngine

        return TensorFlowEngine(bundle, threads)
    raise EngineError(f"unknown engine {name!r}; known: auto, litert, tensorflow")


def _pick(bundle: Bundle) -> EngineName:
    if _installed("tensorflow") and _gpu_visible():
        return "tensorflow"
    if _installed("ai_edge_litert") and bundle.litert is not None:
        return "litert"
    return "tensorflow"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _gpu_visible() -> bool:
    # Importing TensorFlow takes seconds and hundreds of megabytes; without a driver there is nothing to ask it.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def check_images(images: NDArray[np.uint8], shapes: tuple[Shape, ...]) -> Shape:
    """The (height, width) of a batch of pictures, if it is one that an engine with these `shapes` takes."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise EngineError(f"expected uint8 pictures [B, H, W, 3], got {images.dtype} {list(images.shape)}")
    return _check_shape(images.shape[1:3], shapes)


def check_fields(fields: Fields, stride: int, shapes: tuple[Shape, ...]) -> Shape:
    """The (height, width) of the network input whose fields these are, if it is listed in `shapes`."""
    heatmaps, pafs = fields
    if heatmaps.ndim != 4 or pafs.ndim != 4 or heatmaps.shape[:3] != pafs.shape[:3] or not len(heatmaps):
        raise EngineError(f"expected fields [B, h, w, C] of one size, got {heatmaps.shape} and {pafs.shape}")
    return _check_shape([side * stride for side in heatmaps.shape[1:3]], shapes)


def _check_shape(sides: Any, shapes: tuple[Shape, ...]) -> Shape:
    shape = (int(sides[0]), int(sides[1]))
    if shape not in shapes:
        listed = ", ".join(f"{height}x{width}" for height, width in shapes)
        raise EngineError(f"network input of {shape[0]}x{shape[1]} (height x width) is not one of: {listed}")
    return shape
