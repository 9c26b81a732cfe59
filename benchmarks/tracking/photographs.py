"""Sequences of people cut out of photographs and moved across another one, as a real bundle sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking.scenes import Moment
from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.images import RgbImage
from shared.inference.estimator import PoseEstimator, PoseOptions
from tests import photos

WIDTH, HEIGHT, FPS = 640, 360, 30
_CAMERA_NOISE = 4.0  # standard deviation in grey levels
_LEAST_VISIBLE = 0.5  # of a person's keypoints

# Drawn by hand around the people of `tests.photos`, in pixels of the photographs.
_ASTRONAUT = """150,110 156,60 190,22 230,10 270,20 298,60 303,110 290,160 276,196 312,212 348,245 362,300 366,348
    400,345 440,355 475,390 492,450 498,511 28,511 28,390 35,330 52,262 105,212 165,190 180,165"""
_HOPPER = """168,88 190,50 260,36 330,45 360,70 378,100 376,140 380,180 372,240 350,290 335,320 400,345 465,370 495,400
    511,599 20,599 22,480 30,400 90,372 160,345 205,315 178,280 160,230 155,150"""

Path = Callable[[float], tuple[float, float]]
"""From seconds to the middle and the top of a cut-out in pixels of the frame."""


@dataclass(frozen=True)
class CutOut:
    """Somebody without background.

    Attributes:
        picture: float32 ``[h, w, 3]``, RGB.
        cover: float32 ``[h, w]``, 1 where the person is, softly 0 beside.
        keypoints: ``[18, 3]``: what the bundle finds when nothing moves and nobody stands before them.
    """

    picture: NDArray[np.float32]
    cover: NDArray[np.float32]
    keypoints: NDArray[np.float32]


@dataclass(frozen=True)
class Mover:
    """A cut-out on its way."""

    cut_out: CutOut
    path: Path


def cut_outs(estimator: PoseEstimator, height: int = 230) -> list[CutOut]:
    """Four people of this height in pixels: two photographs and their mirror images."""
    found: list[CutOut] = []
    for photograph, outline in ((photos.astronaut(), _ASTRONAUT), (photos.grace_hopper(), _HOPPER)):
        cover = np.zeros(photograph.shape[:2], np.uint8)
        points = [[int(value) for value in point.split(",")] for point in outline.split()]
        cv2.fillPoly(cover, [np.array(points, np.int32)], 255)
        cover = cv2.GaussianBlur(cover, (0, 0), 2)
        size = (round(photograph.shape[1] * height / photograph.shape[0]), height)
        picture, cover = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (photograph, cover))
        for step in (1, -1):
            sides = picture[:, ::step].astype(np.float32), cover[:, ::step].astype(np.float32) / 255
            found.append(CutOut(*sides, _keypoints_of(*sides, estimator)))
    return found


def _keypoints_of(
    picture: NDArray[np.float32], cover: NDArray[np.float32], estimator: PoseEstimator
) -> NDArray[np.float32]:
    frame = _background()
    _paste(frame, picture, cover, 200, 100)
    people = estimator.estimate(_as_image(frame), PoseOptions(long_side=640))
    keypoints = people.keypoints[0].copy()
    keypoints[:, :2] -= np.where(keypoints[:, 2:] > 0, (200, 100), 0)
    return keypoints


def play(
    movers: Sequence[Mover], seconds: float, estimator: PoseEstimator, pillar: tuple[int, int] | None = None
) -> list[Moment]:
    """Every frame of a sequence; later people stand before earlier ones, and all behind the pillar (left, right)."""
    generator = np.random.default_rng(0)
    return [_moment(movers, frame / FPS, estimator, pillar, generator) for frame in range(round(seconds * FPS))]


def _moment(
    movers: Sequence[Mover],
    time: float,
    estimator: PoseEstimator,
    pillar: tuple[int, int] | None,
    generator: np.random.Generator,
) -> Moment:
    frame, owner = _background(), np.full((HEIGHT, WIDTH), -1)
    truths: list[NDArray[np.float32]] = []
    for number, mover in enumerate(movers):
        middle, top = mover.path(time)
        left = middle - mover.cut_out.cover.shape[1] / 2
        cover = _paste(frame, mover.cut_out.picture, mover.cut_out.cover, left, top)
        owner[cover > 0.5] = number
        truths.append(mover.cut_out.keypoints + np.array([left, top, 0], np.float32))
    if pillar:
        frame[:, slice(*pillar)], owner[:, slice(*pillar)] = 90, -1
    frame += generator.normal(0, _CAMERA_NOISE, frame.shape)
    truth = [_visible(keypoints, owner == number) for number, keypoints in enumerate(truths)]
    kept = [i for i, (seen, whole) in enumerate(zip(truth, truths, strict=True)) if _enough(seen, whole)]
    people = np.array([truth[i] for i in kept], np.float32).reshape(len(kept), *truths[0].shape)
    there = Tracked(People(people, np.ones(len(kept), np.float32)), tuple(i + 1 for i in kept))
    return Moment(time, there, estimator.estimate(_as_image(frame)))


def _visible(keypoints: NDArray[np.float32], mine: NDArray[np.bool_]) -> NDArray[np.float32]:
    x, y = keypoints[:, :2].round().astype(int).T
    inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT) & (keypoints[:, 2] > 0)
    inside[inside] = mine[y[inside], x[inside]]
    return keypoints * inside[:, None]


def _enough(seen: NDArray[np.float32], whole: NDArray[np.float32]) -> bool:
    return (seen[:, 2] > 0).sum() >= _LEAST_VISIBLE * (whole[:, 2] > 0).sum()


def _background() -> NDArray[np.float32]:
    return cv2.resize(photos.nobody(), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)


def _paste(
    frame: NDArray[np.float32], picture: NDArray[np.float32], cover: NDArray[np.float32], left: float, top: float
) -> NDArray[np.float32]:
    """Put a cut-out into a frame, at fractions of a pixel; returns how far it covers each pixel."""
    shift = np.array([[1, 0, left], [0, 1, top]], np.float64)
    moved, covers = (cv2.warpAffine(image, shift, (WIDTH, HEIGHT)) for image in (picture, cover))
    frame += covers[..., None] * (moved - frame)
    return np.asarray(covers, np.float32)


def _as_image(frame: NDArray[np.float32]) -> RgbImage:
    return frame.clip(0, 255).round().astype(np.uint8)


def _straight(x: float, speed: float, top: float = 130) -> Path:
    return lambda time: (x + speed * time, top + 4 * np.sin(5 * time))


def _swaying(middle: float, reach: float, rate: float, lean: float, top: float) -> Path:
    return lambda time: (middle + reach * np.sin(rate * time + lean), top + 3 * np.sin(4 * time + lean))


def photograph_scenes(estimator: PoseEstimator) -> dict[str, list[Moment]]:
    """Sequences by name."""
    people = cut_outs(estimator)
    small = cut_outs(estimator, 150)
    one, two, three, four = people
    crowd = [
        Mover(cut_out, _swaying(320, 200, rate, lean, top))
        for cut_out, rate, lean, top in zip(
            small, (0.9, 1.1, 0.7, 1.3), (0.0, 2.0, 3.5, 5.0), (110, 140, 170, 200), strict=True
        )
    ]
    return {
        "two cross": play([Mover(two, _straight(120, 110)), Mover(three, _straight(520, -110))], 4, estimator),
        "four hide each other": play(crowd, 6, estimator),
        "two behind a pillar": play(
            [Mover(one, _straight(-40, 130)), Mover(four, _straight(650, -120))], 5, estimator, pillar=(250, 390)
        ),
        "nearly at rest": play([Mover(one, _straight(170, 5)), Mover(four, _straight(470, -5))], 3, estimator),
    }
