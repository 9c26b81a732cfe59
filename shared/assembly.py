"""Peaks and limb scores to people: greedy matching per limb, merging along the skeleton, pruning.

The arrays are small and sparse, so numpy only picks the candidates; the rest runs over Python lists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.skeleton import Skeleton


class People(NamedTuple):
    """The people of one picture, best first.

    Attributes:
        keypoints: float32 ``[N, K, 3]``: x, y, score; all three are 0 where a keypoint is absent.
        scores: float32 ``[N]`` in 0..1: sum of the squared scores of COCO's 17 keypoints over 17. A sum ranks
            people better than a mean, which favours fragments with a few sure keypoints; squares, so that
            many doubtful keypoints don't make a person.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]

    @staticmethod
    def none(skeleton: Skeleton) -> People:
        """Nobody."""
        return People(np.zeros((0, skeleton.num_keypoints, 3), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class AssemblyOptions:
    """What counts as a person.

    Attributes:
        sure_peak, sure_keypoints: people are begun in two rounds, so that doubtful peaks don't come between sure ones:
            first from peaks over this score, if so many belong together.
        begin_peak, min_keypoints: then, from what is left, with these limits.
        min_peak_score: peaks at or under this score are not looked at. Those over it can extend a person that others
            have begun.
        min_limb_score: candidate limbs at or under this score are not looked at.
        min_person_score: people with a lower score are dropped.
        max_similarity: of two people more alike than this (OKS over their common keypoints) the weaker is dropped.
    """

    sure_peak: float = 0.3
    sure_keypoints: int = 5
    begin_peak: float = 0.1
    min_keypoints: int = 3
    min_peak_score: float = 0.0
    min_limb_score: float = 0.0
    min_person_score: float = 0.0
    max_similarity: float = 0.8


_MAX_EXCHANGES = 4
_LEAST_GAIN = 1e-6

_Node = tuple[int, int]  # keypoint type and slot


class _Link(NamedTuple):
    """One limb, possible or of a person: a slot of the limb's first keypoint joined to a slot of its second.

    Attributes:
        weaker: score of the weaker of the two peaks.
    """

    limb: int
    first: int
    second: int
    score: float
    weaker: float

    def ends(self, skeleton: Skeleton) -> tuple[_Node, _Node]:
        """Both ends as keypoint type and slot."""
        first, second = skeleton.limbs[self.limb]
        return (first, self.first), (second, self.second)


@dataclass(eq=False)
class _Part:
    """A person in the making: keypoint type -> slot."""

    slots: dict[int, int]


@lru_cache(maxsize=16)
def redundant_limbs(skeleton: Skeleton) -> frozenset[int]:
    """Limbs that join keypoints which the limbs before them already connect (shoulder to ear in BODY_18)."""
    group = list(range(skeleton.num_keypoints))
    redundant: set[int] = set()
    for limb, (first, second) in enumerate(skeleton.limbs):
        keep, gone = group[first], group[second]
        if keep == gone:
            redundant.add(limb)
        group = [keep if member == gone else member for member in group]
    return frozenset(redundant)


def assemble(
    peaks: NDArray[np.float32],
    limb_scores: NDArray[np.float32],
    skeleton: Skeleton,
    options: AssemblyOptions = AssemblyOptions(),
) -> People:
    """Join peaks into people.

    Args:
        peaks: float32 ``[K, P, 3]``: x, y, score of each slot; score 0 is an empty slot.
        limb_scores: float32 ``[L, P, P]``: row = slot of the limb's first keypoint, column = of its second.
        skeleton: K keypoints and L limbs.
        options: what counts as a person.

    Returns:
        People in the pixels of `peaks`, best first. Peaks that no limb attaches are left out.
    """
    possible = _candidates(peaks, limb_scores, skeleton, options)
    parts: list[_Part] = []
    rounds = ((options.sure_peak, options.sure_keypoints), (options.begin_peak, options.min_keypoints))
    for level, least in rounds:
        taken = {node for part in parts for node in part.slots.items()}
        possible = [link for link in possible if taken.isdisjoint(link.ends(skeleton))]
        begun = _grow(_match([link for link in possible if link.weaker > level]), skeleton)
        parts += _extend([part for part in begun if len(part.slots) >= least], possible, skeleton)
    if not parts:
        return People.none(skeleton)
    people = _to_people(parts, peaks, skeleton)
    keep = (people.scores >= options.min_person_score) & ~_duplicates(people, skeleton, options.max_similarity)
    return People(people.keypoints[keep], people.scores[keep])


def _candidates(
    peaks: NDArray[np.float32], limb_scores: NDArray[np.float32], skeleton: Skeleton, options: AssemblyOptions
) -> list[_Link]:
    """Every possible limb, by limb and then by falling score."""
    usable = peaks[..., 2] > options.min_peak_score
    firsts, seconds = np.array(skeleton.limbs).T
    possible = (limb_scores > options.min_limb_score) & usable[firsts][:, :, None] & usable[seconds][:, None, :]
    limb, first, second = np.nonzero(possible)
    scores = limb_scores[limb, first, second]
    weaker = np.minimum(peaks[firsts[limb], first, 2], peaks[seconds[limb], second, 2])
    order = np.lexsort((-scores, limb))
    columns = (column[order].tolist() for column in (limb, first, second, scores, weaker))
    return [_Link(*row) for row in zip(*columns, strict=True)]


def _match(candidates: list[_Link]) -> list[_Link]:
    """Join each slot at most once per limb."""
    matched: list[_Link] = []
    for _, group in groupby(candidates, key=attrgetter("limb")):
        links = {(link.first, link.second): link for link in group}
        pairs = _Matching({ends: link.score for ends, link in links.items()}).pairs()
        matched += [links[ends] for ends in pairs]
    return matched


class _Matching:
    """A one-to-one matching of one limb's candidates: best limbs first, then exchanges that pay.

    Where limbs of a type cross, a wrong limb that ends in another one's field can score a hair more than the
    right ones and would leave both their other ends alone; taking the right two instead is worth more. Scores
    count squared, so that two doubtful limbs do not push out a sure one.
    """

    def __init__(self, scores: dict[tuple[int, int], float]) -> None:
        """Match the candidates (first slot, second slot): score, which are sorted by falling score."""
        self._worth = {ends: score**2 for ends, score in scores.items()}
        self._partners: dict[int, list[int]] = {}
        self._taken: dict[int, int] = {}
        self._takes: dict[int, int] = {}
        for first, second in scores:
            self._partners.setdefault(first, []).append(second)
            if first not in self._takes and second not in self._taken:
                self._join(first, second)
        for _ in range(_MAX_EXCHANGES):
            if not sum(self._exchange(*ends) for ends in self._worthwhile()):
                break

    def pairs(self) -> list[tuple[int, int]]:
        """The limbs that are part of the matching."""
        return list(self._takes.items())

    def _join(self, first: int, second: int) -> None:
        self._takes[first], self._taken[second] = second, first

    def _worthwhile(self) -> list[tuple[int, int]]:
        """Candidates whose exchange could pay if the slot that loses by it got its best other partner."""
        if len(self._worth) == len(self._takes):
            return []
        worth, taken = self._worth, self._taken
        now = {first: worth[first, second] for first, second in self._takes.items()}
        spare = {
            first: max((worth[first, slot] for slot in slots[:2] if slot != self._takes.get(first)), default=0.0)
            for first, slots in self._partners.items()
        }
        return [
            (first, second)
            for (first, second), value in worth.items()
            if (loser := taken.get(second, first)) != first and value + spare[loser] > now[loser] + now.get(first, 0.0)
        ]

    def _exchange(self, first: int, second: int) -> bool:
        """Take this limb and give the slot that loses `second` another one, if that is worth more than before."""
        loser, left = self._taken.get(second), self._takes.get(first)
        if loser is None or loser == first:
            return False
        free = next((slot for slot in self._partners[loser] if slot not in self._taken), None)
        instead = max((left, free), key=lambda slot: self._value(loser, slot))
        before = self._value(loser, second) + self._value(first, left)
        if self._value(first, second) + self._value(loser, instead) <= before + _LEAST_GAIN:
            return False
        del self._takes[loser]
        if left is not None:
            del self._taken[left]
        self._join(first, second)
        if instead is not None and (loser, instead) in self._worth:
            self._join(loser, instead)
        return True

    def _value(self, first: int, second: int | None) -> float:
        return 0.0 if second is None else self._worth.get((first, second), 0.0)


def _grow(links: list[_Link], skeleton: Skeleton) -> list[_Part]:
    """Merge matched limbs into people.

    The limbs that make the skeleton a tree can never bring one person two keypoints of a type. The redundant
    ones can, so they come last and best first, and one that would is dropped.
    """
    redundant = redundant_limbs(skeleton)
    owners: dict[_Node, _Part] = {}
    for link in links:
        if link.limb not in redundant:
            _join(owners, link, skeleton, may_start=True)
    for link in sorted((link for link in links if link.limb in redundant), key=lambda link: -link.score):
        _join(owners, link, skeleton, may_start=False)
    return list({id(part): part for part in owners.values()}.values())


def _join(owners: dict[_Node, _Part], link: _Link, skeleton: Skeleton, may_start: bool) -> None:
    """Add one limb: start a person, extend one or merge two; do nothing if they share a keypoint type."""
    nodes = link.ends(skeleton)
    found = [owners.get(node) for node in nodes]
    if found[0] is None and found[1] is None and not may_start:
        return
    parts = [part or _Part({node[0]: node[1]}) for part, node in zip(found, nodes, strict=True)]
    keep, gone = parts
    if keep.slots.keys() & gone.slots.keys():  # also if they are one and the same
        return
    keep.slots.update(gone.slots)
    for node in keep.slots.items():
        owners[node] = keep


def _extend(parts: list[_Part], possible: list[_Link], skeleton: Skeleton) -> list[_Part]:
    """Give people the keypoints they lack from peaks that are free, surest limbs first; peaks may be weak ones."""
    owners = {node: part for part in parts for node in part.slots.items()}
    waiting = sorted(possible, key=lambda link: -link.score * math.sqrt(link.weaker))
    while waiting:
        left: list[_Link] = []
        grown = False
        for link in waiting:
            first, second = link.ends(skeleton)
            part, free = (owners.get(first), second) if first in owners else (owners.get(second), first)
            if part is None:
                left.append(link)
            elif free not in owners and free[0] not in part.slots:
                part.slots[free[0]], owners[free] = free[1], part
                grown = True
        waiting = left if grown else []
    return parts


def _to_people(parts: list[_Part], peaks: NDArray[np.float32], skeleton: Skeleton) -> People:
    slots = np.full((len(parts), skeleton.num_keypoints), -1)
    for row, part in zip(slots, parts, strict=True):
        row[list(part.slots.keys())] = list(part.slots.values())
    keypoints = peaks[np.arange(skeleton.num_keypoints), slots] * (slots >= 0)[..., None]
    # Derived keypoints (the neck) say nothing that their ends have not said.
    scores = (keypoints[:, skeleton.labelled, 2] ** 2).mean(axis=1)
    order = np.argsort(-scores, kind="stable")
    return People(keypoints[order].astype(np.float32), scores[order].astype(np.float32))


def _duplicates(people: People, skeleton: Skeleton, limit: float) -> NDArray[np.bool_]:
    """Which people ``[N]`` are too alike to a better one that is kept."""
    dropped = np.zeros(len(people.scores), bool)
    alike = np.triu(_similarity(people.keypoints, skeleton) > limit, k=1)
    for better, worse in np.argwhere(alike).tolist():
        if not dropped[better]:
            dropped[worse] = True
    return dropped


def _similarity(keypoints: NDArray[np.float32], skeleton: Skeleton) -> NDArray[np.floating]:
    """OKS ``[N, N]`` over common keypoints; 0 for pairs that share less than half of the smaller one's.

    The scale is the smaller of the two boxes, so that a person standing before a larger one is not mistaken
    for its copy.
    """
    xy, present = keypoints[..., :2], keypoints[..., 2] > 0
    low = np.where(present[..., None], xy, np.inf).min(axis=1)
    high = np.where(present[..., None], xy, -np.inf).max(axis=1)
    area = np.maximum((high - low).prod(axis=-1), 1.0)
    common = present[:, None] & present[None]
    count = common.sum(axis=-1)
    squared = ((xy[:, None] - xy[None]) ** 2).sum(axis=-1)
    spread = 2 * (2 * np.array(skeleton.sigmas)) ** 2 * np.minimum(area[:, None], area[None])[..., None]
    oks = (np.exp(-squared / spread) * common).sum(axis=-1) / np.maximum(count, 1)
    sizes = present.sum(axis=-1)
    return oks * (2 * count >= np.minimum(sizes[:, None], sizes[None]))
