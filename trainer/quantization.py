"""Whether an int8 network is good enough to ship: AP on held-out pictures beside the float network's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.bundle import Bundle
from shared.geometry import Shape
from shared.inference.engine import EngineName, load_engine
from shared.inference.estimator import PoseEstimator

MOST_LOST = 0.01
"""AP (of 1) that int8 may cost."""


@dataclass(frozen=True)
class HeldOut:
    """Labelled pictures that int8 is judged by.

    Attributes:
        annotations: COCO keypoint JSON.
        images: folder of its pictures.
        resolution: long side of the network input.
        limit: at most so many pictures, the first ones; None for all.
    """

    annotations: Path
    images: Path
    resolution: int = 384
    limit: int | None = None

    def shapes_of(self, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Those of `shapes` that the service uses at this resolution."""
        sides = sorted({max(shape) for shape in shapes})
        side = next((side for side in sides if side >= self.resolution), sides[-1])
        return tuple(shape for shape in shapes if max(shape) == side)


class Verdict(NamedTuple):
    """AP of both networks, 0 to 1."""

    exact: float
    quantised: float

    @property
    def kept(self) -> bool:
        """Whether int8 costs little enough."""
        return self.quantised >= self.exact - MOST_LOST

    def __str__(self) -> str:
        said = "kept" if self.kept else f"not kept (it may cost {MOST_LOST:g}), float16 takes its place"
        return f"int8: AP {self.quantised:.3f}, float32: AP {self.exact:.3f}: {said}"


def judge(bundle: Bundle, held_out: HeldOut) -> Verdict:
    """Measure a bundle whose LiteRT file is int8 against its SavedModel.

    Raises:
        YaopError: annotations or pictures are missing or malformed.
    """
    return Verdict(_average_precision(bundle, held_out, "tensorflow"), _average_precision(bundle, held_out, "litert"))


def _average_precision(bundle: Bundle, held_out: HeldOut, name: EngineName) -> float:
    from trainer.evaluation import evaluate

    engine = load_engine(bundle, name)
    try:
        result = evaluate(
            PoseEstimator(engine, bundle.skeleton),
            held_out.annotations,
            held_out.images,
            resolution=held_out.resolution,
            limit=held_out.limit,
            skeleton=bundle.skeleton,
        )
    finally:
        engine.close()
    return result.accuracy.ap
