"""What was wrong with a data set and what was done about it: counted by rule, and listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

RULES = {
    "picture missing": "picture left out",
    "picture broken": "picture left out",
    "picture of another size": "picture left out",
    "nobody labelled": "picture left out",
    "picture unknown": "annotation left out",
    "keypoints malformed": "annotation became an ignored region",
    "keypoint outside": "keypoint counts as not labelled",
    "num_keypoints wrong": "counted again",
    "box rebuilt": "box taken from the keypoints",
    "box useless": "annotation left out",
    "segmentation malformed": "box used in its place",
}
"""Rule -> action; `trainer.data.coco` says when each applies."""


class Finding(NamedTuple):
    """One thing that was wrong: which picture or annotation, which of the `RULES`, what was done."""

    where: str
    rule: str
    action: str


@dataclass(frozen=True)
class DatasetReport:
    """What a data set holds, and what of it was mended or left out. `str` makes a short table of it.

    Attributes:
        annotations, images: the JSON file and the picture folder, as they were given.
        digest: sha256 of the JSON file, "" if there is none.
        listed: pictures that the data set names.
        pictures: those that are used.
        people: labelled people in them.
        ignored: regions in them that carry no loss: crowds and people without keypoints.
        counts: how often each of the `RULES` applied.
        findings: each case. One finding may stand for several keypoints of a person.
    """

    annotations: str = ""
    images: str = ""
    digest: str = ""
    listed: int = 0
    pictures: int = 0
    people: int = 0
    ignored: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def written(self, pictures: int, people: int, ignored: int, findings: Sequence[Finding]) -> DatasetReport:
        """The report after so much was written, and pictures were left out for these findings."""
        counts = Counter(self.counts) + Counter(finding.rule for finding in findings)
        return replace(
            self,
            pictures=pictures,
            people=people,
            ignored=ignored,
            counts=dict(counts),
            findings=(*self.findings, *findings),
        )

    def __str__(self) -> str:
        lines = [
            f"{self.pictures:8,d} of {self.listed:,d} pictures",
            f"{self.people:8,d} people with keypoints",
            f"{self.ignored:8,d} ignored regions",
        ]
        for rule, count in sorted(self.counts.items()):
            first = next(finding.where for finding in self.findings if finding.rule == rule)
            lines.append(f"{count:8,d} x {rule} ({RULES[rule]}); first: {first}")
        return "\n".join(lines)


class FindingsLog:
    """Collects findings while a data set is read."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []

    def add(self, rule: str, where: str, count: int = 1) -> None:
        """Note that one of the `RULES` applied here, to `count` things."""
        self.counts[rule] += count
        self.findings.append(Finding(where, rule, RULES[rule]))
