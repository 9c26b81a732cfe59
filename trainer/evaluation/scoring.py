"""COCO's keypoint evaluation (pycocotools) of found people against labels, and what can be read off it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from trainer.evaluation.labels import Found, Labels

MAX_DETECTIONS = 20  # per picture, as COCO's keypoint evaluation counts them
_IGNORED_FROM = 0.5  # OKS with an ignored region from which on a found person is neither right nor wrong
_PIXEL_DIGITS, _SCORE_DIGITS = 2, 4  # as in a COCO results file


@dataclass(frozen=True)
class Accuracy:
    """Results of COCO's keypoint evaluation, 0 to 1; -1 where the data has no person of that size.

    Attributes:
        images: pictures in the data.
        resolution: long side of the network input in pixels (of several scales the largest); 0 where it is not known.
        ap: average precision, the mean over OKS 0.50, 0.55 ... 0.95.
        ap50: at OKS 0.5.
        ap75: at OKS 0.75.
        ap_medium: of people with an area of 32^2 to 96^2 pixels.
        ap_large: of larger people.
        ar: average recall, the mean over the same OKS.
    """

    images: int
    resolution: int
    ap: float
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float


class SizeAccuracy(NamedTuple):
    """AP and AR of people of one size, and how many of them are labelled."""

    people: int
    ap: float
    ar: float


class KeypointAccuracy(NamedTuple):
    """AP of one keypoint, and of how many people it is labelled."""

    people: int
    ap: float


class Curve(NamedTuple):
    """Precision ``[101]`` at each recall ``[101]``, for one OKS or as the mean over all of them."""

    oks: str
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


class PictureScore(NamedTuple):
    """How well one picture went.

    Attributes:
        id: of the picture.
        name: its file's name.
        score: 0 to 1: sum of the OKS of right pairs over the number of people that are labelled or found in error.
        labelled: people who count.
        found: people found, as sure or surer than `Evaluation.threshold`.
        wrong: of these, how many are nobody.
    """

    id: int
    name: str
    score: float
    labelled: int
    found: int
    wrong: int


class Evaluation:
    """The result of an evaluation. What takes long is computed when it is asked for.

    Attributes:
        accuracy: COCO's summary.
        labels: what was compared with.
        found: people by picture id.
    """

    def __init__(self, labels: Labels, found: Mapping[int, Sequence[Found]], resolution: int = 0) -> None:
        """Compare.

        Args:
            labels: what is true.
            found: people by picture id; of each picture the best 20 count. Pictures that the labels don't have are
                passed over.
            resolution: see `Accuracy`.
        """
        self.labels = labels
        self.found = {picture.id: list(found.get(picture.id, ())) for picture in labels.pictures}
        self._run = _run(labels, self.found)
        stats = [float(value) for value in np.asarray(self._run.stats)]
        self._ar = stats[5], stats[8], stats[9]
        ap, ap50, ap75, medium, large, ar = stats[:6]
        self.accuracy = Accuracy(len(labels.pictures), resolution, ap, ap50, ap75, medium, large, ar)

    @cached_property
    def sizes(self) -> dict[str, SizeAccuracy]:
        """AP and AR by size: ``all``, ``medium`` and ``large``."""
        areas = [entry["area"] for entry in self.labels.annotations if entry["num_keypoints"] and not entry["iscrowd"]]
        limits = dict(zip(self._run.params.areaRngLbl, self._run.params.areaRng, strict=True))
        ap = (self.accuracy.ap, self.accuracy.ap_medium, self.accuracy.ap_large)
        return {
            name: SizeAccuracy(sum(limits[name][0] <= area <= limits[name][1] for area in areas), *scores)
            for name, *scores in zip(("all", "medium", "large"), ap, self._ar, strict=True)
        }

    @cached_property
    def keypoints(self) -> dict[str, KeypointAccuracy]:
        """AP of each keypoint by its name; -1 where nobody has it labelled.

        That is COCO's evaluation as if there were only this keypoint: those who have it labelled count, those who
        were found with it are right or wrong by its OKS alone, and they are ranked by the whole person's score.
        """
        return {name: _keypoint(self.labels, self.found, index) for index, name in enumerate(self.labels.names)}

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """Precision over recall for OKS 0.50, 0.75 and the mean over 0.50 to 0.95, for people of all sizes."""
        precision = np.asarray(self._run.eval["precision"], float)[:, :, 0, 0, 0]
        recall = np.asarray(self._run.params.recThrs, float)
        thresholds = np.asarray(self._run.params.iouThrs, float)
        at = {f"{oks:.2f}": precision[int(np.abs(thresholds - oks).argmin())] for oks in (0.5, 0.75)}
        return tuple(Curve(oks, recall, values) for oks, values in (at | {"0.50:0.95": precision.mean(axis=0)}).items())

    @cached_property
    def threshold(self) -> float:
        """The score from which on a found person is shown, and counted if wrong.

        It is where F1 at OKS 0.5 is best, so that it suits the scores of any system.
        """
        precision, scores = (np.asarray(self._run.eval[name], float)[0, :, 0, 0, 0] for name in ("precision", "scores"))
        recall = np.asarray(self._run.params.recThrs, float)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        return float(scores[f1.argmax()]) if f1.max() > 0 else 0.0

    @cached_property
    def pictures(self) -> list[PictureScore]:
        """Every picture, the worst first; of pictures with the same score the one with more people."""
        scores = [self._picture(picture.id, picture.path.name) for picture in self.labels.pictures]
        return sorted(scores, key=lambda picture: (picture.score, -picture.labelled - picture.wrong))

    def shown(self, picture: int) -> list[Found]:
        """The people found in a picture that are sure enough to show, best first."""
        scores = {id(person): round(person.score, _SCORE_DIGITS) for person in self.found[picture]}
        people = sorted(self.found[picture], key=lambda person: -scores[id(person)])[:MAX_DETECTIONS]
        return [person for person in people if scores[id(person)] >= self.threshold]

    def _picture(self, identifier: int, name: str) -> PictureScore:
        kept = self.shown(identifier)
        key = identifier, self.labels.category
        ignored = np.array([bool(entry["ignore"]) for entry in self._run._gts[key]], bool)
        oks = np.zeros((len(kept), len(ignored)))
        if kept and len(ignored):
            oks = np.asarray(self._run.ious[key], float)[: len(kept)]  # rows by falling score
        pairs, unmatched = _match(oks[:, ~ignored])
        wrong = sum(not (oks[row, ignored] >= _IGNORED_FROM).any() for row in unmatched)
        labelled = int((~ignored).sum())
        total = labelled + wrong
        return PictureScore(identifier, name, sum(pairs) / total if total else 1.0, labelled, len(kept), wrong)

    def to_json(self, worst: int = 20) -> dict[str, Any]:
        """Everything as plain JSON values, with so many of the worst pictures."""
        digits = 4
        return {
            **{name: _rounded(value, digits) for name, value in asdict(self.accuracy).items()},
            "people": self.labels.people,
            "sizes": {
                name: {key: _rounded(value, digits) for key, value in size._asdict().items()}
                for name, size in self.sizes.items()
            },
            "keypoints": {
                name: {"people": keypoint.people, "ap": _rounded(keypoint.ap, digits)}
                for name, keypoint in self.keypoints.items()
            },
            "curves": [
                {"oks": oks, "recall": recall.round(digits).tolist(), "precision": precision.round(digits).tolist()}
                for oks, recall, precision in self.curves
            ],
            "threshold": _rounded(self.threshold, digits),
            "worst": [
                picture._asdict() | {"score": _rounded(picture.score, digits)} for picture in self.pictures[:worst]
            ],
        }


def _rounded(value: float, digits: int) -> float:
    return value if isinstance(value, int) else round(value, digits)


def _run(labels: Labels, found: Mapping[int, Sequence[Found]]) -> Any:
    """COCO's evaluation, done and summed up."""
    run = _prepare(labels, labels.annotations, found, labels.sigmas)
    with contextlib.redirect_stdout(io.StringIO()):
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def _prepare(
    labels: Labels, truth: Sequence[dict[str, Any]], found: Mapping[int, Sequence[Found]], sigmas: Sequence[float]
) -> Any:
    results = [_result(picture, person, labels.category) for picture, people in found.items() for person in people]
    numbered = [result | {"id": number} for number, result in enumerate(results, start=1)]
    # Copies: the evaluation writes marks into what it is given.
    run: Any = COCOeval(labels.coco(dict(entry) for entry in truth), labels.coco(numbered), "keypoints")
    run.params.kpt_oks_sigmas = np.array(sigmas)
    return run


def _result(picture: int, person: Found, category: int) -> dict[str, Any]:
    """One entry of a COCO results file, with the box and area that `COCO.loadRes` gives it."""
    xy, scores = person.keypoints[:, :2], person.keypoints[:, 2:]
    keypoints = np.concatenate([xy.round(_PIXEL_DIGITS), scores.round(_SCORE_DIGITS)], axis=1)
    left, top = keypoints[:, :2].min(axis=0).tolist()
    right, bottom = keypoints[:, :2].max(axis=0).tolist()
    return {
        "image_id": picture,
        "category_id": category,
        "keypoints": keypoints.ravel().tolist(),
        "score": round(person.score, _SCORE_DIGITS),
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
    }


def _keypoint(labels: Labels, found: Mapping[int, Sequence[Found]], index: int) -> KeypointAccuracy:
    part = slice(3 * index, 3 * index + 3)
    truth: list[dict[str, Any]] = []
    for entry in labels.annotations:
        triple = entry["keypoints"][part]
        truth.append(entry | {"keypoints": triple, "num_keypoints": int(triple[2] > 0)})
    people = sum(bool(entry["num_keypoints"]) and not entry["iscrowd"] for entry in truth)
    if not people:
        return KeypointAccuracy(0, -1.0)
    having = {
        picture: [Found(p.keypoints[index : index + 1], p.score) for p in persons if p.keypoints[index].any()]
        for picture, persons in found.items()
    }
    run = _prepare(labels, truth, having, labels.sigmas[index : index + 1])
    run.params.areaRng, run.params.areaRngLbl = run.params.areaRng[:1], run.params.areaRngLbl[:1]
    with contextlib.redirect_stdout(io.StringIO()):
        run.evaluate()
        run.accumulate()
    return KeypointAccuracy(people, float(np.asarray(run.eval["precision"])[:, :, 0, 0, 0].mean()))


def _match(oks: NDArray[np.float64]) -> tuple[list[float], list[int]]:
    """Pair found people (rows) with labelled ones (columns), the most alike first.

    Returns:
        OKS of the pairs, and the rows without a partner; nobody is paired at an OKS of 0.1 or less.
    """
    left, pairs = oks.copy(), list[float]()
    free = set(range(len(oks)))
    while left.size and left.max() > 0.1:
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        pairs.append(float(left[row, column]))
        free.discard(int(row))
        left[row], left[:, column] = 0.0, 0.0
    return pairs, sorted(free)
