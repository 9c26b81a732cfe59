"""Run something that finds people over a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shared.assembly import People
from shared.errors import ImageError
from shared.images import RgbImage, decode_image
from shared.inference.estimator import PoseEstimator, PoseOptions
from shared.skeleton import BODY_18, Skeleton
from trainer.data.coco import DatasetError, Record
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.labels import Found, Labels, Picture, labels_of_records, load_labels
from trainer.evaluation.scales import MultiScaleEstimator
from trainer.evaluation.scoring import MAX_DETECTIONS, Evaluation

Progress = Callable[[int, int], None]
"""Called before each picture with the number of pictures done and in all, and once at the end."""

Poses = Callable[[Picture], Sequence[Found]]
"""Finds the people of one picture, their keypoints in the labels' order."""


def evaluate(
    estimator: PoseEstimator,
    annotations: Path,
    images: Path,
    *,
    resolution: int,
    flip: bool = False,
    scales: Sequence[int] = (),
    limit: int | None = None,
    progress: Progress | None = None,
    skeleton: Skeleton = BODY_18,
) -> Evaluation:
    """Estimate the poses in every picture of a data set, through the code that serves, and compare with its labels.

    Args:
        estimator: what finds the people.
        annotations: COCO keypoint JSON; people without labelled keypoints are ignored, as COCO does.
        images: folder of the pictures.
        resolution: long side of the network input in pixels.
        flip: test-time flip.
        scales: several long sides in place of `resolution`; their fields are averaged, see `MultiScaleEstimator`.
        limit: at most so many pictures, those with the lowest ids.
        progress: called with pictures done and in all.
        skeleton: of the estimator's people.

    Raises:
        DatasetError: annotations or a picture are missing or malformed.
        ImageError: a picture cannot be decoded.
        EvaluationError: the people are of another skeleton, or `scales` are given to an estimator that takes one.
    """
    labels = load_labels(annotations, images, skeleton, limit)
    poses = _estimated(estimator, labels, skeleton, resolution, flip, scales)
    return evaluate_poses(labels, poses, max(scales, default=resolution), progress)


def evaluate_records(
    estimator: PoseEstimator,
    records: Sequence[Record],
    *,
    resolution: int,
    flip: bool = False,
    progress: Progress | None = None,
    skeleton: Skeleton = BODY_18,
) -> Evaluation:
    """The same on training records, for instance on those few that a model was made to learn by heart.

    Raises:
        DatasetError: nobody is labelled, or a picture is missing.
        ImageError: a picture cannot be decoded.
        EvaluationError: the people are of another skeleton.
    """
    labels = labels_of_records(records, skeleton)
    poses = _estimated(estimator, labels, skeleton, resolution, flip, ())
    return evaluate_poses(labels, poses, resolution, progress)


def evaluate_poses(labels: Labels, poses: Poses, resolution: int = 0, progress: Progress | None = None) -> Evaluation:
    """Ask for the people in every picture and compare with the labels.

    Args:
        labels: pictures and what is true about them.
        poses: called once for each picture.
        resolution: written into the result.
        progress: called with pictures done and in all.
    """
    found: dict[int, Sequence[Found]] = {}
    for done, picture in enumerate(labels.pictures):
        if progress:
            progress(done, len(labels.pictures))
        found[picture.id] = poses(picture)
    if progress:
        progress(len(labels.pictures), len(labels.pictures))
    return Evaluation(labels, found, resolution)


def found_people(people: People, skeleton: Skeleton, labels: Labels) -> list[Found]:
    """People of a skeleton, with the evaluated keypoints only.

    Raises:
        EvaluationError: they are of another skeleton.
    """
    if people.keypoints.shape[1] != skeleton.num_keypoints:
        raise EvaluationError(
            f"people with {people.keypoints.shape[1]} keypoints are not of the skeleton {skeleton.name}, "
            f"which has {skeleton.num_keypoints}"
        )
    keypoints = people.keypoints[:, labels.order(skeleton)].astype(np.float64)
    return [Found(points, float(score)) for points, score in zip(keypoints, people.scores, strict=True)]


def read_picture(path: Path) -> RgbImage:
    """A picture of a data set, RGB uint8 ``[H, W, 3]``.

    Raises:
        DatasetError: it is missing.
        ImageError: it cannot be decoded; the message starts with its path.
    """
    try:
        return decode_image(read_file(path))
    except ImageError as error:
        raise ImageError(error.kind, f"{path}: {error}") from error


def read_file(path: Path) -> bytes:
    """The bytes of a picture of a data set.

    Raises:
        DatasetError: it is missing.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


def _estimated(
    estimator: PoseEstimator, labels: Labels, skeleton: Skeleton, resolution: int, flip: bool, scales: Sequence[int]
) -> Poses:
    options = PoseOptions(long_side=resolution, min_score=0.0, max_people=MAX_DETECTIONS, flip=flip)
    estimate = partial(estimator.estimate, options=options)
    if scales:
        if not isinstance(estimator, MultiScaleEstimator):
            raise EvaluationError("several scales need a MultiScaleEstimator")
        estimate = partial(estimator.estimate_scales, options=options, scales=scales)
    return lambda picture: found_people(estimate(read_picture(picture.path)), skeleton, labels)
