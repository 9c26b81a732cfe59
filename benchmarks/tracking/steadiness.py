"""What smoothing takes away and what it costs: jitter, lag and distance from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking.metrics import LEAST_OKS, truth_oks
from benchmarks.tracking.scenes import Moment
from service.tracking.body import body_size
from service.tracking.smoothing import Smoother, SmoothingOptions
from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.skeleton import BODY_18

_MOVING = 0.3  # person sizes a second


@dataclass
class Steadiness:
    """Of keypoints that were followed over two frames.

    Attributes:
        errors: vectors from the truth ``[2]``, in person sizes.
        changes: of these from frame to frame.
        velocities: of the truth, in person sizes a second.
    """

    errors: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    changes: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    velocities: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])

    @property
    def error(self) -> float:
        """Root mean square distance from the truth in percent of the person's size."""
        return _percent(self.errors)

    @property
    def jitter(self) -> float:
        """Root mean square movement that the truth does not make, from frame to frame, in percent of the size."""
        return _percent(self.changes)

    @property
    def lag_ms(self) -> float:
        """By how many milliseconds keypoints in motion are late."""
        errors, velocities = np.concatenate(self.errors), np.concatenate(self.velocities)
        moving = np.linalg.norm(velocities, axis=1) > _MOVING
        if not moving.any():
            return 0.0
        return float(-1000 * (errors * velocities)[moving].sum() / (velocities[moving] ** 2).sum())


def steadiness(sequences: Sequence[Sequence[Moment]], options: SmoothingOptions | None) -> Steadiness:
    """Smooth people under their true ids, or don't (None), and compare them with the truth."""
    result = Steadiness()
    for moments in sequences:
        smoother = Smoother(BODY_18, options) if options else None
        before: tuple[float, dict[int, NDArray[np.float64]], dict[int, NDArray[np.float64]]] = (0.0, {}, {})
        for moment in moments:
            found = _with_true_ids(moment)
            if smoother:
                found = smoother.update(found, moment.timestamp)
            truths = dict(zip(moment.truth.ids, moment.truth.people.keypoints.astype(np.float64), strict=True))
            errors = _errors(truths, found)
            time, old_truths, old_errors = before
            for id_ in sorted(errors.keys() & old_errors.keys()):
                velocity = (truths[id_] - old_truths[id_])[:, :2] / _size(truths[id_]) / (moment.timestamp - time)
                _add(result, errors[id_], old_errors[id_], velocity)
            before = moment.timestamp, truths, errors
    return result


def _add(
    result: Steadiness, now: NDArray[np.float64], before: NDArray[np.float64], velocity: NDArray[np.float64]
) -> None:
    both = ~np.isnan(now + before).any(axis=1)
    result.errors.append(now[both])
    result.changes.append((now - before)[both])
    result.velocities.append(velocity[both])


def _errors(truths: dict[int, NDArray[np.float64]], found: Tracked) -> dict[int, NDArray[np.float64]]:
    """From the truth, ``[18, 2]`` in person sizes by id; not a number where either is hidden."""
    result: dict[int, NDArray[np.float64]] = {}
    for id_, keypoints in zip(found.ids, found.people.keypoints, strict=True):
        truth = truths[id_]
        both = (keypoints[:, 2:] > 0) & (truth[:, 2:] > 0)
        result[id_] = np.where(both, keypoints[:, :2] - truth[:, :2], np.nan) / _size(truth)
    return result


def _size(keypoints: NDArray[np.float64]) -> float:
    return float(body_size(keypoints[None, :, :2], keypoints[None, :, 2] > 0)[0])


def _with_true_ids(moment: Moment) -> Tracked:
    """Those who were found and are somebody, one for each."""
    alike = truth_oks(moment.truth.people, moment.found, BODY_18)
    if not alike.size:
        return Tracked(People.none(BODY_18), ())
    best = alike.argmax(axis=1)
    rows = {int(best[row]): id_ for row, id_ in enumerate(moment.truth.ids) if alike[row, best[row]] >= LEAST_OKS}
    found = list(rows)
    return Tracked(People(moment.found.keypoints[found], moment.found.scores[found]), tuple(rows.values()))


def _percent(vectors: Sequence[NDArray[np.float64]]) -> float:
    return float(100 * np.sqrt((np.concatenate(vectors) ** 2).sum(axis=1).mean()))
