"""What comes after the network, in the graph and in Python, as people are added to the picture."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.engines import LONG_SIDE
from benchmarks.pictures import crowd
from benchmarks.timing import side_by_side
from shared.bundle import Bundle
from shared.inference.engine import load_engine
from shared.inference.estimator import PoseOptions, finish, prepare


@dataclass(frozen=True)
class DecodingCost:
    """Median milliseconds with so many people drawn into the picture, and how many were found."""

    people: int
    found: int
    network: float
    graph: float
    python: float

    @property
    def share(self) -> float:
        """Decoding, both parts, as a fraction of the network's time."""
        return (self.graph + self.python) / self.network


def decoding_cost(bundle: Bundle, people: int, runs: int = 40) -> DecodingCost:
    """Time network with decoder, decoder alone, and assembly on one picture, in turns."""
    engine = load_engine(bundle, "litert")
    options = PoseOptions(LONG_SIDE)
    prepared = prepare(crowd(people), options, bundle.manifest.shapes)
    arrays = engine.pose(prepared.images)
    fields = engine.fields(prepared.images)
    times = side_by_side(
        {
            "pose": lambda: engine.pose(prepared.images),
            "decode": lambda: engine.decode(fields),
            "assemble": lambda: finish(arrays.peaks[0], arrays.limb_scores[0], prepared, options, bundle.skeleton),
        },
        runs,
    )
    found = finish(arrays.peaks[0], arrays.limb_scores[0], prepared, options, bundle.skeleton)
    graph = times["decode"].median  # overestimated: the fields are copied in and the peaks out
    return DecodingCost(people, len(found.scores), times["pose"].median - graph, graph, times["assemble"].median)
