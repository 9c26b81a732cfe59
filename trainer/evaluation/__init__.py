"""COCO keypoint AP of an engine, through the very path that serves, and of anything else that finds people."""

from __future__ import annotations

from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.measure import evaluate, evaluate_poses, evaluate_records
from trainer.evaluation.record import record_accuracy
from trainer.evaluation.scales import MultiScaleEstimator
from trainer.evaluation.scoring import Accuracy, Evaluation

__all__ = [
    "Accuracy",
    "Evaluation",
    "EvaluationError",
    "MultiScaleEstimator",
    "evaluate",
    "evaluate_poses",
    "evaluate_records",
    "record_accuracy",
]
