"""A stand-in for the network: it finds coloured discs, so that what it sees decides what it answers.

A person is a red disc (nose), a green one (neck) and a blue one (right shoulder). Because the answer comes from
the pixels, a test sees at once if a picture is turned, cropped, scaled or given another picture's result.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.models import LoadedModel, ModelRepository
from shared.bundle import Bundle, Manifest
from shared.geometry import Shape
from shared.inference.engine import Fields, PoseArrays
from shared.skeleton import BODY_18

STRIDE = 4
SLOTS = 4
SCORE = 0.9
SHAPES: tuple[Shape, ...] = ((256, 256), (192, 256), (256, 192), (384, 384), (288, 384), (384, 288), (512, 512))

_COLORS = {"nose": (255, 0, 0), "neck": (0, 255, 0), "right_shoulder": (0, 0, 255)}
_LIMBS = (("neck", "nose"), ("neck", "right_shoulder"))

Points = dict[str, tuple[float, float]]


class DiscEngine:
    """Satisfies `shared.inference.engine.Engine`.

    Attributes:
        calls: shapes ``[B, H, W, 3]`` of all calls so far.
        gate: calls wait here while it is cleared.
        entered: set when a call begins.
        failure: raised by every call while it is set.
    """

    def __init__(self, name: str = "fake", shapes: tuple[Shape, ...] = SHAPES) -> None:
        self.name = name
        self.shapes = shapes
        self.calls: list[tuple[int, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: BaseException | None = None
        self.warmed: list[Shape] = []
        self.closed = False

    def pose(self, images: NDArray[np.uint8]) -> PoseArrays:
        return self.decode(self.fields(images))

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        self.calls.append(images.shape)
        self.entered.set()
        assert self.gate.wait(120)
        if self.failure is not None:
            raise self.failure
        heatmaps = np.zeros((len(images), images.shape[1] // STRIDE, images.shape[2] // STRIDE, 18), np.float32)
        for name, color in _COLORS.items():
            alike = np.abs(images.astype(np.int16) - np.array(color)).max(axis=-1) < 90
            cells = alike.reshape(*heatmaps.shape[:2], STRIDE, heatmaps.shape[2], STRIDE)
            heatmaps[..., BODY_18.index(name)] = cells.mean(axis=(2, 4))
        return Fields(heatmaps, np.zeros((*heatmaps.shape[:3], 38), np.float32))

    def decode(self, fields: Fields) -> PoseArrays:
        count = len(fields.heatmaps)
        peaks = np.zeros((count, 18, SLOTS, 3), np.float32)
        limb_scores = np.zeros((count, 19, SLOTS, SLOTS), np.float32)
        for image in range(count):
            for name in _COLORS:
                peaks[image, BODY_18.index(name), 0] = _centroid(fields.heatmaps[image, ..., BODY_18.index(name)])
        for first, second in _LIMBS:
            limb_scores[:, BODY_18.limbs.index((BODY_18.index(first), BODY_18.index(second))), 0, 0] = SCORE
        return PoseArrays(peaks, limb_scores)

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        self.warmed += shapes

    def close(self) -> None:
        self.closed = True


def _centroid(heatmap: NDArray[np.float32]) -> tuple[float, float, float]:
    weight = heatmap.sum()
    if weight < 0.5:
        return 0.0, 0.0, 0.0
    ys, xs = np.mgrid[: heatmap.shape[0], : heatmap.shape[1]] * STRIDE + (STRIDE - 1) / 2
    return float((xs * heatmap).sum() / weight), float((ys * heatmap).sum() / weight), SCORE


def discs(width: int, height: int, points: Points, radius: int = 10) -> NDArray[np.uint8]:
    """A grey picture, RGB uint8 ``[H, W, 3]``, with a disc for each point (pixels of the picture)."""
    image = np.full((height, width, 3), 128, np.uint8)
    for name, (x, y) in points.items():
        cv2.circle(image, (round(x), round(y)), radius, _COLORS[name], cv2.FILLED)
    return image


def person_at(x: float, y: float, size: float = 60) -> Points:
    """Where the discs of a person with the neck at (x, y) are."""
    return {"neck": (x, y), "nose": (x, y - size), "right_shoulder": (x - size, y)}


def fake_model(engine: DiscEngine, name: str = "discs", batch_limit: int = 8) -> LoadedModel:
    """A loaded model that runs on the fake engine."""
    manifest = Manifest(
        name=name,
        version="1.2.3",
        skeleton="body_18",
        stride=STRIDE,
        shapes=engine.shapes,
        max_peaks=SLOTS,
        licence="Apache-2.0",
        created="2026-01-01T00:00:00Z",
        architecture="discs",
    )
    return LoadedModel(Bundle(Path("/nowhere"), manifest), engine, batch_limit)


def fake_models(engine: DiscEngine | None = None) -> ModelRepository:
    """A repository with just that model."""
    return ModelRepository([fake_model(engine or DiscEngine())])
