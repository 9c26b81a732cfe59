"""COCO AP through the serving path, with an engine that knows the answer."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from shared.bundle import Bundle, load_bundle
from shared.errors import ImageError
from shared.geometry import Shape
from shared.inference.engine import Fields, PoseArrays
from shared.inference.estimator import PoseEstimator, PoseOptions
from shared.skeleton import BODY_18, COCO_17_KEYPOINTS, Skeleton, coco17_to_body18
from tests.fake_engine import DiscEngine, discs, person_at
from trainer.data.coco import DatasetError, Record
from trainer.evaluation import (
    Accuracy,
    Evaluation,
    EvaluationError,
    MultiScaleEstimator,
    evaluate,
    evaluate_records,
    record_accuracy,
)
from trainer.evaluation.labels import Found, load_labels

SIDE = 256


class KnowingEngine:
    """Returns the given people as perfect peaks and limbs, moved by an error in input pixels."""

    name = "knowing"
    shapes: tuple[Shape, ...] = ((SIDE, SIDE),)

    def __init__(self, keypoints: np.ndarray, error: float = 0.0) -> None:
        self._keypoints, self._error = keypoints, error

    def pose(self, images: np.ndarray) -> PoseArrays:
        count = len(self._keypoints)
        peaks = np.zeros((1, 18, 8, 3), np.float32)
        peaks[0, :, :count, :2] = self._keypoints[..., :2].transpose(1, 0, 2) + self._error
        peaks[0, :, :count, 2] = self._keypoints[..., 2].T > 0
        limbs = np.zeros((1, 19, 8, 8), np.float32)
        limbs[0, :, range(count), range(count)] = 1.0
        return PoseArrays(peaks, limbs)

    def fields(self, images: np.ndarray) -> Fields:
        raise AssertionError("evaluation without flip needs no fields")

    def decode(self, fields: Fields) -> PoseArrays:
        raise AssertionError("evaluation without flip decodes nothing itself")

    def warm_up(self, shapes: Iterable[Shape]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def random_people(count: int, seed: int = 0) -> np.ndarray:
    """``[count, 17, 3]`` within 100 pixels each, side by side."""
    rng = np.random.default_rng(seed)
    coco = np.zeros((count, 17, 3))
    coco[..., :2] = rng.uniform(10, 100, (count, 17, 2)) + np.arange(count)[:, None, None] * [120, 0]
    coco[..., 2] = 2
    return coco


@pytest.fixture
def people() -> np.ndarray:
    coco = random_people(2)
    coco[1, :, 1] += 120
    return coco


def annotation(number: int, image: int, person: np.ndarray, **changes: Any) -> dict[str, Any]:
    low, high = person[:, :2].min(axis=0), person[:, :2].max(axis=0)
    entry = {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "num_keypoints": int((person[:, 2] > 0).sum()),
        "area": 8000.0, "bbox": [*low.tolist(), *(high - low).tolist()], "keypoints": person.ravel().tolist(),
    }  # fmt: skip
    return entry | changes


def write_dataset(
    folder: Path,
    annotations: list[dict[str, Any]],
    images: Iterable[int] = (5,),
    category: dict[str, Any] | None = None,
) -> Path:
    for image in images:
        cv2.imwrite(str(folder / f"{image}.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
    content = {
        "images": [{"id": image, "file_name": f"{image}.png", "width": SIDE, "height": SIDE} for image in images],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"} | (category or {})],
    }
    path = folder / "people.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def dataset(tmp_path: Path, people: np.ndarray) -> Path:
    write_dataset(tmp_path, [annotation(number, 5, person) for number, person in enumerate(people, start=1)])
    return tmp_path


def estimator(people: np.ndarray, error: float = 0.0) -> PoseEstimator:
    return PoseEstimator(KnowingEngine(coco17_to_body18(people), error), BODY_18)


def run(dataset: Path, people: np.ndarray, error: float = 0.0, **options: Any) -> Evaluation:
    return evaluate(estimator(people, error), dataset / "people.json", dataset, resolution=SIDE, **options)


def found(*people: np.ndarray, score: float = 0.9) -> list[Found]:
    return [Found(person, score) for person in people]


def test_perfect_poses_have_an_ap_of_one(dataset: Path, people: np.ndarray) -> None:
    accuracy = run(dataset, people).accuracy
    assert (accuracy.ap, accuracy.ar, accuracy.ap_medium) == pytest.approx((1.0, 1.0, 1.0))
    assert accuracy.ap_large == -1  # there is nobody of that size
    assert (accuracy.images, accuracy.resolution) == (1, SIDE)


def test_a_displacement_costs_ap(dataset: Path, people: np.ndarray) -> None:
    assert 0 < run(dataset, people, error=4.0).accuracy.ap < 0.9
    assert run(dataset, people, error=60.0).accuracy.ap == 0.0


def test_nobody_found_is_an_ap_of_zero(dataset: Path, people: np.ndarray) -> None:
    assert run(dataset, people[:0]).accuracy.ap == 0.0


def test_a_missing_picture_is_named(dataset: Path, people: np.ndarray) -> None:
    (dataset / "5.png").unlink()
    with pytest.raises(DatasetError, match=r"5\.png"):
        run(dataset, people)


def test_a_broken_picture_is_named(dataset: Path, people: np.ndarray) -> None:
    (dataset / "5.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"5\.png"):
        run(dataset, people)


def test_a_missing_annotation_file_is_named(dataset: Path, people: np.ndarray) -> None:
    (dataset / "people.json").unlink()
    with pytest.raises(DatasetError, match=r"people\.json"):
        run(dataset, people)


def test_the_numbers_are_those_of_pycocotools(tmp_path: Path) -> None:
    """Random people in ten pictures, found with errors, misses and phantoms; crowds and unlabelled people too."""
    rng = np.random.default_rng(4)
    annotations: list[dict[str, Any]] = []
    results: dict[int, list[Found]] = {}
    for image in range(1, 11):
        persons = random_people(3, seed=image)
        persons[..., 2] *= rng.random((3, 17)) > 0.3
        for number, person in enumerate(persons):
            area = float(rng.choice([500.0, 4000.0, 20000.0]))
            annotations.append(annotation(image * 10 + number, image, person, area=area))
        annotations.append(annotation(image * 10 + 5, image, persons[0] * 0, bbox=[0, 120, 100, 100]))
        annotations.append(annotation(image * 10 + 6, image, persons[1], iscrowd=1))
        moved = persons + rng.normal(0, 4, persons.shape) * [1, 1, 0]
        phantom = persons[:1] + [0, 110, 0]
        results[image] = [Found(person, float(rng.random())) for person in [*moved[: rng.integers(0, 4)], *phantom]]
    path = write_dataset(tmp_path, annotations, range(1, 11))
    ours = Evaluation(load_labels(path, tmp_path, BODY_18), results).accuracy
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        entries = [
            {"image_id": i, "category_id": 1, "keypoints": p.keypoints.ravel().tolist(), "score": p.score}
            for i, people in results.items()
            for p in people
        ]
        reference = COCOeval(truth, truth.loadRes(entries), "keypoints")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    numbers = (ours.ap, ours.ap50, ours.ap75, ours.ap_medium, ours.ap_large, ours.ar)
    assert numbers == pytest.approx(list(reference.stats[:6]), abs=1e-6)
    assert 0.1 < ours.ap < 0.9


def test_an_annotation_with_the_id_0_can_be_found(tmp_path: Path, people: np.ndarray) -> None:
    write_dataset(tmp_path, [annotation(number, 5, person) for number, person in enumerate(people)])
    assert run(tmp_path, people).accuracy.ap == pytest.approx(1.0)


def test_a_limit_takes_the_pictures_with_the_lowest_ids(tmp_path: Path, people: np.ndarray) -> None:
    write_dataset(tmp_path, [annotation(1, 9, people[0]), annotation(2, 2, people[1])], (9, 2))
    calls: list[tuple[int, int]] = []
    result = run(tmp_path, people[1:], limit=1, progress=lambda *done: calls.append(done))
    assert result.accuracy.ap == pytest.approx(1.0)
    assert [picture.id for picture in result.pictures] == [2]
    assert calls == [(0, 1), (1, 1)]


def test_one_wrong_keypoint_costs_only_its_own_ap(dataset: Path, people: np.ndarray) -> None:
    wrong = people.copy()
    wrong[:, COCO_17_KEYPOINTS.index("left_wrist"), 0] += 80
    keypoints = run(dataset, wrong).keypoints
    assert list(keypoints) == list(COCO_17_KEYPOINTS)
    assert {name for name, keypoint in keypoints.items() if keypoint.ap < 0.99} == {"left_wrist"}
    assert keypoints["left_wrist"].ap == 0.0
    assert {keypoint.people for keypoint in keypoints.values()} == {2}


def test_a_keypoint_that_nobody_has_labelled_has_no_ap(tmp_path: Path, people: np.ndarray) -> None:
    people[0, 0] = 0
    write_dataset(tmp_path, [annotation(1, 5, people[0])])
    keypoints = run(tmp_path, people[:1]).keypoints
    assert keypoints["nose"] == (0, -1.0)
    assert keypoints["left_eye"].ap == pytest.approx(1.0)


def test_a_keypoint_that_was_not_found_is_missed(dataset: Path, people: np.ndarray) -> None:
    partly = people.copy()
    partly[1, 0] = 0
    assert 0.4 < run(dataset, partly).keypoints["nose"].ap < 0.6


def test_curves_and_sizes(dataset: Path, people: np.ndarray) -> None:
    result = run(dataset, people[:1])
    curves = {curve.oks: curve for curve in result.curves}
    assert list(curves) == ["0.50", "0.75", "0.50:0.95"]
    assert curves["0.50"].recall.shape == curves["0.50"].precision.shape == (101,)
    reached = curves["0.50"].precision[curves["0.50"].recall <= 0.5]
    assert reached.min() == pytest.approx(1.0) and curves["0.50"].precision[-1] == 0.0  # one of two is found
    assert result.accuracy.ap50 == pytest.approx(curves["0.50"].precision.mean())
    assert result.sizes["all"].people == result.sizes["medium"].people == 2
    assert result.sizes["all"].ar == pytest.approx(0.5)
    assert result.sizes["large"] == (0, -1, -1)


def test_the_worst_pictures_come_first(tmp_path: Path, people: np.ndarray) -> None:
    """1: right; 2: one of two missed; 3: a phantom; 4: somebody in an ignored region, which is no error; 5: nobody."""
    first, second = people
    ignored = annotation(5, 4, second * 0, bbox=[130, 130, 90, 90])
    entries = [
        annotation(1, 1, first), annotation(2, 2, first), annotation(3, 2, second), annotation(4, 3, first),
        annotation(6, 4, first), ignored,
    ]  # fmt: skip
    labels = load_labels(write_dataset(tmp_path, entries, range(1, 6)), tmp_path, BODY_18)
    people_of = {1: found(first), 2: found(first), 3: found(first, second), 4: found(first, second)}
    result = Evaluation(labels, people_of)
    scores = {picture.id: picture for picture in result.pictures}
    assert [picture.id for picture in result.pictures][:2] == [2, 3]
    assert (scores[2].score, scores[2].labelled, scores[2].found, scores[2].wrong) == (pytest.approx(0.5), 2, 1, 0)
    assert (scores[3].score, scores[3].labelled, scores[3].found, scores[3].wrong) == (pytest.approx(0.5), 1, 2, 1)
    assert (scores[4].score, scores[4].wrong) == (pytest.approx(1.0), 0)
    assert (scores[5].score, scores[5].labelled) == (1.0, 0)
    assert scores[3].name == "3.png"


def test_doubtful_phantoms_are_not_shown_whatever_the_scale_of_the_scores(tmp_path: Path, people: np.ndarray) -> None:
    labels = load_labels(write_dataset(tmp_path, [annotation(1, 5, people[0])]), tmp_path, BODY_18)
    result = Evaluation(labels, {5: found(people[0], score=40.0) + found(people[1], score=3.0)})
    assert result.threshold == 40.0
    assert [person.score for person in result.shown(5)] == [40.0]
    assert result.pictures[0].wrong == 0


def test_the_json_holds_it_all(dataset: Path, people: np.ndarray) -> None:
    content = json.loads(json.dumps(run(dataset, people, error=2.0).to_json()))
    assert content["images"] == 1 and content["people"] == 2
    assert 0 < content["ap"] < 1
    assert content["keypoints"]["nose"]["people"] == 2
    assert len(content["curves"]) == 3 and len(content["curves"][0]["precision"]) == 101
    assert content["worst"][0]["name"] == "5.png"


ARM = Skeleton(
    name="arm", keypoints=("hand", "elbow", "thumb"), limbs=((0, 1), (0, 2)), flips=(0, 1, 2),
    sigmas=(0.05, 0.2, 0.05), colors=((1, 2, 3),) * 3, derived=(),
)  # fmt: skip


def test_another_skeletons_keypoints_are_matched_by_name_with_its_sigmas(tmp_path: Path) -> None:
    """The annotations have an order of their own and a keypoint that the skeleton lacks."""
    labelled = np.array([[50, 60, 2], [10, 10, 2], [90, 20, 2]], float)
    entries = [annotation(1, 5, labelled, area=2500.0)]
    path = write_dataset(tmp_path, entries, category={"name": "arm", "keypoints": ["elbow", "watch", "hand"]})
    labels = load_labels(path, tmp_path, ARM)
    assert labels.names == ("elbow", "hand") and labels.sigmas == (0.2, 0.05)
    right = np.array([[50, 60, 0.9], [90, 20, 0.9]])
    assert Evaluation(labels, {5: [Found(right, 0.5)]}).accuracy.ap == pytest.approx(1.0)
    # 5 pixels of 50: next to nothing for the elbow's sigma, OKS 0.61 for the hand's.
    apart = {name: right + np.eye(2)[i][:, None] * [5, 0, 0] for i, name in enumerate(labels.names)}
    aps = {name: Evaluation(labels, {5: [Found(points, 0.5)]}).keypoints[name].ap for name, points in apart.items()}
    assert aps["elbow"] > 0.9 and 0.2 < aps["hand"] < 0.4


def test_people_of_another_skeleton_are_refused(tmp_path: Path, people: np.ndarray) -> None:
    category = {"name": "arm", "keypoints": ["hand"]}
    write_dataset(tmp_path, [annotation(1, 5, np.array([[5.0, 5.0, 2.0]]))], category=category)
    with pytest.raises(EvaluationError, match="18 keypoints are not of the skeleton arm"):
        run(tmp_path, people, skeleton=ARM)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content.pop("images"), "not a COCO keypoint file"),
        (lambda content: content.update(images=[]), "lists no pictures"),
        (lambda content: content["images"].append(content["images"][0]), "picture id 5 is there twice"),
        (lambda content: content["images"][0].update(id="five"), "must be an integer"),
        (lambda content: content["annotations"][0].update(image_id=6), "no picture has the id 6"),
        (lambda content: content["annotations"][0].update(keypoints=[1, 2, 2]), "3 numbers in keypoints, expected 3"),
        (lambda content: content["annotations"][0].update(area=float("nan")), "must be finite"),
        (lambda content: content["annotations"][0].pop("bbox"), "not a COCO keypoint file"),
        (lambda content: content["annotations"].clear(), "nobody is labelled"),
        (lambda content: content["categories"][0].update(name="dog"), "no category is called person"),
        (lambda content: content["categories"][0].update(keypoints=["tail"]), "no keypoint of the skeleton body_18"),
    ],
)
def test_malformed_labels_are_refused(
    dataset: Path, people: np.ndarray, spoil: Callable[[Any], Any], message: str
) -> None:
    path = dataset / "people.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message) as caught:
        run(dataset, people)
    assert str(caught.value).startswith(str(path))


def test_training_records_can_be_evaluated(dataset: Path, people: np.ndarray) -> None:
    record = Record(
        image=dataset / "5.png",
        name="5.png",
        size=(SIDE, SIDE),
        keypoints=coco17_to_body18(people).astype(np.float32),
        boxes=np.array([[10, 10, 90, 90], [130, 130, 90, 90]], np.float32),
        areas=np.array([8000, 8000], np.float32),
        ignored=np.zeros((0, 4), np.float32),
        keypoint_weights=np.ones(18, np.float32),
        only_labelled=False,
        segmentations=(),
    )
    assert evaluate_records(estimator(people), [record], resolution=SIDE).accuracy.ap == pytest.approx(1.0)
    assert evaluate_records(estimator(people, 60.0), [record], resolution=SIDE).accuracy.ap == 0.0
    # Somebody in an ignored region is neither right nor wrong.
    excused = replace(record, keypoints=record.keypoints[:1], boxes=record.boxes[:1], areas=record.areas[:1])
    excused = replace(excused, ignored=np.array([[130, 130, 90, 90]], np.float32))
    assert evaluate_records(estimator(people), [excused], resolution=SIDE).pictures[0].wrong == 0
    with pytest.raises(DatasetError, match="nobody"):
        evaluate_records(estimator(people), [replace(record, keypoints=record.keypoints[:, :] * 0)], resolution=SIDE)


@pytest.mark.parametrize(("width", "height"), [(640, 400), (301, 450), (512, 512)])
def test_several_scales_find_people_where_they_are(width: int, height: int) -> None:
    """The letterboxes of the scales have different shares of padding."""
    points = person_at(width * 0.6, height * 0.55, size=min(width, height) * 0.2)
    engine = DiscEngine()
    scaled = MultiScaleEstimator(engine, BODY_18)
    people = scaled.estimate_scales(discs(width, height, points, radius=16), PoseOptions(), (512, 256, 384))
    assert len(people.scores) == 1
    for name, place in points.items():
        assert people.keypoints[0, BODY_18.index(name), :2] == pytest.approx(place, abs=1.0)
    assert [max(shape[1:3]) for shape in engine.calls] == [256, 384, 512]


def test_scales_are_averaged_and_flipped_where_asked(dataset: Path) -> None:
    calls: dict[bool, list[tuple[int, ...]]] = {}
    for flip in (False, True):
        engine = DiscEngine()
        scaled = MultiScaleEstimator(engine, BODY_18)
        result = evaluate(
            scaled, dataset / "people.json", dataset, resolution=256, scales=(256, 384), flip=flip
        )  # fmt: skip
        assert result.accuracy.resolution == 384
        calls[flip] = engine.calls
    assert [len(calls[flip]) for flip in (False, True)] == [2, 2]
    assert {shape[0] for shape in calls[False]} == {1} and {shape[0] for shape in calls[True]} == {2}


def test_one_scale_among_several_is_that_scale(people: np.ndarray) -> None:
    image = discs(640, 400, person_at(300, 250))
    one = PoseEstimator(DiscEngine(), BODY_18).estimate(image, PoseOptions(long_side=384))
    same = MultiScaleEstimator(DiscEngine(), BODY_18).estimate_scales(image, PoseOptions(), (384,))
    np.testing.assert_allclose(same.keypoints, one.keypoints, atol=1e-4)


def test_scales_need_an_estimator_that_takes_them(dataset: Path, people: np.ndarray) -> None:
    with pytest.raises(EvaluationError, match="MultiScaleEstimator"):
        run(dataset, people, scales=(256, 384))


def test_recorded_results_replace_those_for_the_same_data(blob_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(blob_bundle.path, tmp_path / "blobs")
    result = Accuracy(7, 128, 0.25, 0.5, 0.24, 0.2, 0.3, 0.4)
    record_accuracy(load_bundle(tmp_path / "blobs"), [result], "mine")
    record_accuracy(load_bundle(tmp_path / "blobs"), [replace(result, ap=0.75)], "theirs")
    record_accuracy(load_bundle(tmp_path / "blobs"), [replace(result, ap=0.123456), result], "mine")
    rows = load_bundle(tmp_path / "blobs").manifest.accuracy
    assert sorted((row.dataset, row.ap) for row in rows) == [("mine", 0.1235), ("mine", 0.25), ("theirs", 0.75)]
    assert "| mine | 7 | 128 | 0.250 |" in (tmp_path / "blobs" / "model_card.md").read_text()
