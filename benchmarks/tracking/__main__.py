"""How well ids are kept and keypoints are steadied, where the truth is known; a Markdown report on standard output.

python -m benchmarks.tracking [--seeds 10] [--no-photographs] [--json FILE]

The synthetic sequences are drawn from seeds; the photographs go through the bundle in `models` on LiteRT. Every
tracker sees the same people in the same frames. A person counts as found from an OKS of 0.5 on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.tracking.baseline import IouTracker
from benchmarks.tracking.metrics import Counts, count
from benchmarks.tracking.photographs import photograph_scenes
from benchmarks.tracking.scenes import SCENES, Moment, crowded
from benchmarks.tracking.steadiness import steadiness
from service.tracking.smoothing import Smoother, SmoothingOptions
from service.tracking.tracked import Tracked
from service.tracking.tracker import Tracker, TrackerOptions
from shared.assembly import People
from shared.bundle import load_bundle, shipped_models_dir
from shared.inference.engine import load_engine
from shared.inference.estimator import PoseEstimator
from shared.skeleton import BODY_18

Sequences = Mapping[str, Sequence[Sequence[Moment]]]


class AnyTracker(Protocol):
    """What is measured."""

    def update(self, people: People, timestamp: float) -> Tracked:
        """The people of the next frame with ids."""
        ...


TRACKERS: dict[str, Callable[[], AnyTracker]] = {
    "boxes (IoU), no motion": lambda: IouTracker(TrackerOptions().max_lost_seconds),
    "service.tracking": lambda: Tracker(BODY_18),
}


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="sequences of each synthetic scene")
    parser.add_argument("--no-photographs", action="store_true", help="synthetic scenes only: no bundle is needed")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    sequences = dict(synthetic_sequences(arguments.seeds))
    if not arguments.no_photographs:
        sequences |= _photographs()
    counts = {name: compare_trackers(moments) for name, moments in sequences.items()}
    milliseconds = milliseconds_a_frame()
    sys.stdout.write(_report(counts, sequences, milliseconds))
    if arguments.json:
        values = {
            scene: {tracker: asdict(c) | {"idf1": c.idf1, "mota": c.mota} for tracker, c in rows.items()}
            for scene, rows in counts.items()
        }
        numbers = {"scenes": values, "milliseconds_a_frame": milliseconds}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


def synthetic_sequences(seeds: int) -> Sequences:
    """So many sequences of each synthetic scene."""
    return {
        name: [scene(generator).play(generator) for generator in map(np.random.default_rng, range(seeds))]
        for name, scene in SCENES.items()
    }


def compare_trackers(sequences: Sequence[Sequence[Moment]]) -> dict[str, Counts]:
    """What each tracker makes of the same sequences."""
    return {name: sum((_count(make(), moments) for moments in sequences), Counts()) for name, make in TRACKERS.items()}


def _count(tracker: AnyTracker, moments: Sequence[Moment]) -> Counts:
    return count([(moment.truth, tracker.update(moment.found, moment.timestamp)) for moment in moments], BODY_18)


def _photographs() -> Sequences:
    bundle = load_bundle(shipped_models_dir() / "mobilenet_fpn")
    scenes = photograph_scenes(PoseEstimator(load_engine(bundle, "litert"), bundle.skeleton))
    return {f"photographs: {name}": [moments] for name, moments in scenes.items()}


def milliseconds_a_frame(people: int = 10) -> float:
    """CPU time that tracking and smoothing so many people cost together."""
    generator = np.random.default_rng(0)
    moments = crowded(generator, people).play(generator)
    tracker, smoother = Tracker(BODY_18), Smoother(BODY_18)
    begin = time.thread_time()
    for moment in moments:
        smoother.update(tracker.update(moment.found, moment.timestamp), moment.timestamp)
    return (time.thread_time() - begin) * 1000 / len(moments)


def _report(counts: Mapping[str, Mapping[str, Counts]], sequences: Sequences, milliseconds: float) -> str:
    lines = ["| sequences | tracker | IDF1 | id switches | MOTA | people x frames |", "|---|---|---|---|---|---|"]
    for scene, rows in counts.items():
        for tracker, c in rows.items():
            lines += [f"| {scene} | {tracker} | {c.idf1:.3f} | {c.switches} | {c.mota:.3f} | {c.truths} |"]
    lines += ["", "| sequences | smoothing | jitter, % of size | lag, ms | error, % of size |", "|---|---|---|---|---|"]
    for scene, moments in sequences.items():
        for name, options in (("none", None), ("one-euro", SmoothingOptions())):
            s = steadiness(moments, options)
            lines += [f"| {scene} | {name} | {s.jitter:.2f} | {s.lag_ms:.0f} | {s.error:.2f} |"]
    return "\n".join([*lines, "", f"Tracking and smoothing of ten people: {milliseconds:.2f} ms of CPU a frame.", ""])


if __name__ == "__main__":
    main()
