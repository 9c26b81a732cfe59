"""How well ids are kept: IDF1, id switches and MOTA.

Bernardin, Stiefelhagen: Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008.
Ristani et al.: Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, ECCV 2016 workshops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from service.tracking.body import body_size
from service.tracking.tracked import Tracked
from shared.assembly import People
from shared.skeleton import Skeleton

LEAST_OKS = 0.5
"""A person who was found is one who is there from this similarity on."""

Pairs = dict[int, int]


@dataclass(frozen=True)
class Counts:
    """Sums over frames; those of several sequences can be added.

    Attributes:
        truths: people who were there, each in each frame.
        found: people who were found.
        misses: of `truths` those not found.
        extras: of `found` those who are nobody.
        switches: how often somebody got another id than before.
        kept: how often people had the one id that suits them best over the sequence (IDTP).
    """

    truths: int = 0
    found: int = 0
    misses: int = 0
    extras: int = 0
    switches: int = 0
    kept: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def idf1(self) -> float:
        """The share of frames in which people have their id: F1 of precision and recall of identities."""
        return 2 * self.kept / max(1, self.truths + self.found)

    @property
    def mota(self) -> float:
        """One less misses, extras and switches for each person who was there; below 0 if they outnumber these."""
        return 1 - (self.misses + self.extras + self.switches) / max(1, self.truths)


def count(frames: Iterable[tuple[Tracked, Tracked]], skeleton: Skeleton) -> Counts:
    """Compare what a tracker says of each frame of a sequence, in order, with what is true.

    Args:
        frames: the people who are there with their true ids, and those found with the tracker's.
        skeleton: of all of them.
    """
    counts, last, before = Counts(), Pairs(), Pairs()
    together: Counter[tuple[int, int]] = Counter()
    for truth, found in frames:
        alike = truth_oks(truth.people, found.people, skeleton)
        together.update((truth.ids[row], found.ids[column]) for row, column in np.argwhere(alike >= LEAST_OKS))
        before = _pairs(truth.ids, found.ids, alike, before)
        counts += Counts(
            truths=len(truth.ids),
            found=len(found.ids),
            misses=len(truth.ids) - len(before),
            extras=len(found.ids) - len(before),
            switches=sum(last.get(person, id_) != id_ for person, id_ in before.items()),
        )
        last |= before
    return counts + Counts(kept=_most_kept(together))


def truth_oks(truth: People, found: People, skeleton: Skeleton) -> NDArray[np.float64]:
    """OKS ``[T, N]`` as in COCO's evaluation: mean over the true keypoints; one that was not found counts 0."""
    here, there = truth.keypoints[..., 2] > 0, found.keypoints[..., 2] > 0
    size = body_size(truth.keypoints[..., :2].astype(np.float64), here)
    deviation = 2 * np.array(skeleton.sigmas) * size[:, None]
    squared = ((truth.keypoints[:, None, :, :2] - found.keypoints[None, ..., :2]) ** 2).sum(axis=-1)
    both = here[:, None] & there[None]
    alike = np.exp(-squared / (2 * deviation[:, None] ** 2)) * both
    return alike.sum(axis=-1) / np.maximum(here.sum(axis=1), 1)[:, None]


def _pairs(truths: tuple[int, ...], found: tuple[int, ...], alike: NDArray[np.float64], before: Pairs) -> Pairs:
    """Who is who in one frame: whom the last frame joined stays so while it can be, the rest by best sum."""
    possible = alike >= LEAST_OKS
    stay = {
        (truths.index(person), found.index(id_))
        for person, id_ in before.items()
        if person in truths and id_ in found and possible[truths.index(person), found.index(id_)]
    }
    value = np.where(possible, alike, 0.0)
    for row, column in stay:
        value[row], value[:, column] = 0.0, 0.0
    rest = {(row, column) for row, column in zip(*linear_sum_assignment(-value), strict=True) if value[row, column] > 0}
    return {truths[row]: found[column] for row, column in stay | rest}


def _most_kept(together: Counter[tuple[int, int]]) -> int:
    """Frames that agree under the best one-to-one naming of true people by ids."""
    people, ids = ({pair[end]: i for i, pair in enumerate(together)} for end in (0, 1))
    people, ids = ({name: i for i, name in enumerate(names)} for names in (people, ids))
    table = np.zeros((len(people), len(ids)), int)
    for (person, id_), frames in together.items():
        table[people[person], ids[id_]] = frames
    return int(table[linear_sum_assignment(-table)].sum())
