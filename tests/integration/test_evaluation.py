"""COCO AP through the serving path, with an engine that knows the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.geometry import Shape
from shared.inference.engine import Fields, PoseArrays
from shared.inference.estimator import PoseEstimator
from shared.skeleton import BODY_18, coco17_to_body18
from trainer.data.coco import DatasetError
from trainer.evaluation import evaluate

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


@pytest.fixture
def people() -> np.ndarray:
    rng = np.random.default_rng(0)
    coco = np.zeros((2, 17, 3))
    coco[..., :2] = rng.uniform(10, 100, (2, 17, 2)) + [[[0, 0]], [[120, 120]]]
    coco[..., 2] = 2
    return coco


@pytest.fixture
def dataset(tmp_path: Path, people: np.ndarray) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
    annotations = [
        {
            "id": number, "image_id": 5, "category_id": 1, "iscrowd": 0, "num_keypoints": 17, "area": 8000.0,
            "bbox": [0, 0, 110, 110], "keypoints": person.ravel().tolist(),
        }
        for number, person in enumerate(people, start=1)
    ]  # fmt: skip
    content = {
        "images": [{"id": 5, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "people.json").write_text(json.dumps(content))
    return tmp_path


def _evaluate(dataset: Path, people: np.ndarray, error: float = 0.0) -> float:
    estimator = PoseEstimator(KnowingEngine(coco17_to_body18(people), error), BODY_18)
    return evaluate(estimator, dataset / "people.json", dataset, resolution=SIDE).ap


def test_perfect_poses_have_an_ap_of_one(dataset: Path, people: np.ndarray) -> None:
    assert _evaluate(dataset, people) == pytest.approx(1.0)


def test_a_displacement_costs_ap(dataset: Path, people: np.ndarray) -> None:
    assert 0 < _evaluate(dataset, people, error=4.0) < 0.9
    assert _evaluate(dataset, people, error=60.0) == 0.0


def test_nobody_found_is_an_ap_of_zero(dataset: Path, people: np.ndarray) -> None:
    assert _evaluate(dataset, people[:0]) == 0.0


def test_a_missing_picture_is_named(dataset: Path, people: np.ndarray) -> None:
    (dataset / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"a\.png"):
        _evaluate(dataset, people)


def test_a_missing_annotation_file_is_named(dataset: Path, people: np.ndarray) -> None:
    (dataset / "people.json").unlink()
    with pytest.raises(DatasetError, match=r"people\.json"):
        _evaluate(dataset, people)
