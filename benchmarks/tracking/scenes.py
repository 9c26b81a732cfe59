"""Sequences of people who walk, cross and hide each other, as a detector with faults sees them.

All of it is drawn from a seed, and who is who is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking.figures import figure
from service.tracking.body import body_size
from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.skeleton import BODY_18

WIDTH, HEIGHT = 640, 480
_LEAST_VISIBLE = 6  # keypoints of a person who counts as there
_HALF_WIDTH = 0.11  # of a body that hides others, in its height

Generator = np.random.Generator
Path = Callable[[float], tuple[float, float]]
"""From seconds to x and the height of the ground in pixels."""


@dataclass(frozen=True)
class Faults:
    """Of a detector.

    Attributes:
        noise: of keypoints, in those deviations at which OKS is 0.6 (1 would be a bad detector).
        lost_keypoints: share of the visible keypoints it doesn't find.
        strayed: share of the hidden keypoints that it finds on whoever hides them.
        misses: share of people it doesn't find in a frame.
        extras: people a frame it finds where nobody is.
        splits: share of people it finds in two pieces.
    """

    noise: float = 0.25
    lost_keypoints: float = 0.05
    strayed: float = 0.2
    misses: float = 0.03
    extras: float = 0.03
    splits: float = 0.01


class Moment(NamedTuple):
    """One frame of a sequence: who is there, and what the detector found, best first."""

    timestamp: float
    truth: Tracked
    found: People


@dataclass(frozen=True)
class Walker:
    """Somebody on a path, with the body's height in pixels and a time by which the steps are shifted."""

    path: Path
    height: float
    phase: float


@dataclass(frozen=True)
class Scene:
    """People between upright pillars (left and right edges in pixels), at these moments, as seen with faults."""

    walkers: Sequence[Walker]
    times: NDArray[np.float64]
    faults: Faults = Faults()
    pillars: Sequence[tuple[float, float]] = ()

    def play(self, generator: Generator) -> list[Moment]:
        """Every frame."""
        return [self._moment(float(time), generator) for time in self.times]

    def _moment(self, time: float, generator: Generator) -> Moment:
        places = [walker.path(time) for walker in self.walkers]
        xy = np.stack([_at(walker, time) for walker in self.walkers])
        hiders = _hiders(xy, places, self.walkers)
        inside = ((xy >= 0) & (xy < (WIDTH, HEIGHT))).all(axis=-1)
        behind = np.any([(xy[..., 0] > left) & (xy[..., 0] < right) for left, right in self.pillars], axis=0)
        visible = inside & (hiders < 0) & ~behind
        there = visible.sum(axis=1) >= _LEAST_VISIBLE
        keypoints = np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=-1) * visible[..., None]
        truth = People(keypoints[there].astype(np.float32), np.ones(there.sum(), np.float32))
        ids = tuple((np.flatnonzero(there) + 1).tolist())
        return Moment(time, Tracked(truth, ids), self._detect(xy, visible, hiders, there, generator))

    def _detect(
        self,
        xy: NDArray[np.float64],
        visible: NDArray[np.bool_],
        hiders: NDArray[np.intp],
        there: NDArray[np.bool_],
        generator: Generator,
    ) -> People:
        faults = self.faults
        strayed = (hiders >= 0) & (generator.random(hiders.shape) < faults.strayed)
        xy = np.where(strayed[..., None], xy[hiders, np.arange(xy.shape[1])], xy)
        deviation = 2 * np.array(BODY_18.sigmas) * body_size(xy, np.ones(xy.shape[:2], bool))[:, None]
        xy = xy + faults.noise * deviation[..., None] * generator.normal(size=xy.shape)
        found = (visible & (generator.random(visible.shape) >= faults.lost_keypoints)) | strayed
        rows = there & (generator.random(len(xy)) >= faults.misses)
        pieces = [piece for row in np.flatnonzero(rows) for piece in self._pieces(xy[row], found[row], generator)]
        pieces += [_nobody(generator) for _ in range(generator.poisson(faults.extras))]
        return _people([piece for piece in pieces if (piece[:, 2] > 0).sum() > 2])

    def _pieces(
        self, xy: NDArray[np.float64], found: NDArray[np.bool_], generator: Generator
    ) -> list[NDArray[np.float64]]:
        scores = generator.uniform(0.3, 0.9, len(xy)) * found
        person = np.column_stack([xy, scores]) * found[:, None]
        if generator.random() >= self.faults.splits:
            return [person]
        lower = np.array([name.endswith(("hip", "knee", "ankle")) for name in BODY_18.keypoints])[:, None]
        return [person * lower, person * ~lower]


def _at(walker: Walker, time: float) -> NDArray[np.float64]:
    (x, ground), (later, _) = walker.path(time), walker.path(time + 0.05)
    heading = np.pi / 2 * np.tanh((later - x) / 0.05 / (0.2 * walker.height))
    return figure(x, ground, walker.height, float(heading), time + walker.phase)


def _hiders(
    xy: NDArray[np.float64], places: Sequence[tuple[float, float]], walkers: Sequence[Walker]
) -> NDArray[np.intp]:
    """Who hides each keypoint ``[N, 18]``, -1 for nobody: whoever stands lower in the picture is nearer."""
    hiders = np.full(xy.shape[:2], -1)
    for i, ((x, ground), walker) in enumerate(zip(places, walkers, strict=True)):
        beside = np.abs(xy[..., 0] - x) < _HALF_WIDTH * walker.height
        within = (xy[..., 1] < ground) & (xy[..., 1] > ground - walker.height)
        behind = np.array([place[1] < ground for place in places])[:, None]
        hiders[beside & within & behind] = i
    return hiders


def _nobody(generator: Generator) -> NDArray[np.float64]:
    """A few keypoints somewhere."""
    place = generator.uniform((0, HEIGHT / 2), (WIDTH, HEIGHT))
    xy = figure(place[0], place[1], generator.uniform(50, 200), generator.uniform(-2, 2), generator.uniform(0, 5))
    found = generator.random(len(xy)) < 0.35
    return np.column_stack([xy, np.full(len(xy), 0.2)]) * found[:, None]


def _people(pieces: Sequence[NDArray[np.float64]]) -> People:
    if not pieces:
        return People.none(BODY_18)
    keypoints = np.stack(pieces).astype(np.float32)
    scores = (keypoints[..., 2] ** 2).mean(axis=1)
    order = np.argsort(-scores)
    return People(keypoints[order], scores[order])


def _times(seconds: float, fps: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * fps)) / fps


def _straight(x: float, ground: float, speed: float) -> Path:
    return lambda time: (x + speed * time, ground)


def crossing(generator: Generator) -> Scene:
    """Two people pass each other, the one behind hidden for a while."""
    walkers: list[Walker] = []
    for side in (-1, 1):
        speed = generator.uniform(80, 180)
        start = WIDTH / 2 + side * speed * 2
        ground = generator.uniform(380, 440)
        walkers.append(Walker(_straight(start, ground, -side * speed), generator.uniform(180, 260), generator.random()))
    return Scene(walkers, _times(4, 30))


def seldom(generator: Generator) -> Scene:
    """The same, but only every fifth frame is looked at."""
    return replace(crossing(generator), times=_times(4, 6))


def pillar(generator: Generator) -> Scene:
    """Three people walk behind a pillar, which takes them up to a second and a half."""
    walkers = [
        Walker(
            _straight(x, generator.uniform(360, 460), generator.uniform(90, 170)),
            generator.uniform(160, 240),
            generator.random(),
        )
        for x in (0, -120, -260)
    ]
    return Scene(walkers, _times(7, 30), pillars=[(290, 370)])


def crowded(generator: Generator, people: int, faults: Faults = Faults()) -> Scene:
    """People go back and forth, hiding each other."""
    walkers: list[Walker] = []
    for _ in range(people):
        middle, reach, ground = generator.uniform(200, 440), generator.uniform(100, 250), generator.uniform(250, 460)
        turn, lean = generator.uniform(0.4, 1.1), generator.uniform(0, 2 * np.pi)

        def path(
            time: float,
            middle: float = middle,
            reach: float = reach,
            ground: float = ground,
            turn: float = turn,
            lean: float = lean,
        ) -> tuple[float, float]:
            return middle + reach * np.sin(turn * time + lean), ground + 10 * np.sin(0.7 * time + lean)

        walkers.append(Walker(path, 60 + 0.35 * ground, generator.random()))
    return Scene(walkers, _times(10, 30), faults)


def crowd(generator: Generator) -> Scene:
    """Eight of them."""
    return crowded(generator, 8)


def bad_detector(generator: Generator) -> Scene:
    """The same eight, found badly: a person in six is missed, every other frame has somebody who is not there."""
    faults = Faults(noise=0.5, lost_keypoints=0.2, strayed=0.4, misses=0.16, extras=0.5, splits=0.04)
    return crowded(generator, 8, faults)


def sport(generator: Generator) -> Scene:
    """Five people dash about, at uneven times between the frames (15 to 30 a second)."""
    walkers: list[Walker] = []
    for i in range(5):
        rates, leans, ground = generator.uniform(0.8, 1.5, 2), generator.uniform(0, 6, 2), 330 + 25 * i

        def path(
            time: float, rates: NDArray[np.float64] = rates, leans: NDArray[np.float64] = leans, ground: float = ground
        ) -> tuple[float, float]:
            return 320 + 130 * np.sin(rates[0] * time + leans[0]) + 90 * np.sin(rates[1] * time + leans[1]), ground

        walkers.append(Walker(path, 150, generator.random()))
    return Scene(walkers, np.cumsum(generator.uniform(1 / 30, 1 / 15, 200)))


def turning_back(generator: Generator) -> Scene:
    """Two people meet, one before the other, and go back where they came from."""
    walkers: list[Walker] = []
    for side in (-1, 1):
        reach, ground = generator.uniform(150, 220), generator.uniform(380, 440)

        def path(time: float, side: int = side, reach: float = reach, ground: float = ground) -> tuple[float, float]:
            return WIDTH / 2 + side * (reach * abs(np.cos(np.pi * time / 4)) - 15), ground

        walkers.append(Walker(path, generator.uniform(180, 260), generator.random()))
    return Scene(walkers, _times(4, 30))


SCENES: dict[str, Callable[[Generator], Scene]] = {
    "two cross": crossing,
    "two cross, 6 frames a second": seldom,
    "three behind a pillar": pillar,
    "eight hide each other": crowd,
    "the same, bad detector": bad_detector,
    "five dash about": sport,
    "two meet and turn back": turning_back,
}
