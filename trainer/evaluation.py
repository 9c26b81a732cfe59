"""COCO keypoint AP of an engine, through the very path that serves (`shared.inference.estimator`)."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shared.bundle import AccuracyRow, Bundle, write_bundle
from shared.images import decode_image
from shared.inference.estimator import PoseEstimator, PoseOptions
from shared.schema import to_coco
from trainer.data.coco import DatasetError
from trainer.model_card import model_card

MAX_DETECTIONS = 20  # per picture, as COCO's keypoint evaluation counts them


@dataclass(frozen=True)
class Accuracy:
    """Results of COCO's keypoint evaluation, 0 to 1; -1 where the data has no person of that size."""

    images: int
    resolution: int
    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float


def evaluate(
    estimator: PoseEstimator,
    annotations: Path,
    images: Path,
    *,
    resolution: int,
    flip: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """Estimate the poses in every picture of a data set and compare with its labels.

    Args:
        annotations: COCO keypoint JSON; people without labelled keypoints are ignored, as COCO does.
        images: folder of the pictures.
        resolution: long side of the network input in pixels.
        flip: test-time flip.
        progress: called with pictures done and in all.

    Raises:
        DatasetError: annotations or a picture are missing or malformed.
        ImageError: a picture cannot be decoded.
    """
    options = PoseOptions(long_side=resolution, min_score=0.0, max_people=MAX_DETECTIONS, flip=flip)
    truth = _load(annotations)
    detections: list[dict[str, Any]] = []
    for done, (identifier, entry) in enumerate(sorted(truth.imgs.items())):
        if progress:
            progress(done, len(truth.imgs))
        people = estimator.estimate(decode_image(_read(images / entry["file_name"])), options)
        detections += to_coco(people, image_id=identifier)
    return _score(truth, detections, resolution)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error


def _load(annotations: Path) -> COCO:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(str(annotations))
    except OSError as error:
        raise DatasetError(f"{annotations}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{annotations}: not a COCO keypoint file ({error!r})") from error


def _results(truth: COCO, detections: list[dict[str, Any]]) -> COCO:
    loaded: Any = truth.loadRes  # its stub wants a file name; it takes a list as well
    return loaded(detections)


def _score(truth: COCO, detections: list[dict[str, Any]], resolution: int) -> Accuracy:
    if not detections:
        return Accuracy(len(truth.imgs), resolution, *([0.0] * 6))
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(truth, _results(truth, detections), "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    ap, ap50, ap75, medium, large, ar = (float(value) for value in np.asarray(run.stats)[:6])
    return Accuracy(len(truth.imgs), resolution, ap, ap50, ap75, medium, large, ar)


def record_accuracy(bundle: Bundle, results: Sequence[Accuracy], dataset: str) -> None:
    """Write results into a bundle's manifest and model card, in place of those for the same data.

    Args:
        bundle: rewritten on disk; the model itself stays as it is.
        results: one for each resolution.
        dataset: how the data is named in the accuracy table.
    """
    kept = [row for row in bundle.manifest.accuracy if row.dataset != dataset]
    rows = [AccuracyRow(dataset=dataset, **_rounded(result)) for result in results]
    manifest = bundle.manifest.model_copy(update={"accuracy": (*kept, *rows)})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / bundle.manifest.name
        shutil.copytree(bundle.path, source)
        (source / "model_card.md").write_text(model_card(manifest), "utf-8")
        write_bundle(bundle.path, manifest, source, replace=True)


def _rounded(result: Accuracy) -> dict[str, Any]:
    return {name: round(value, 4) for name, value in asdict(result).items()}
