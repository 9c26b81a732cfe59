"""What a run wrote down while it trained: ``history.jsonl``, one JSON object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard

from trainer import storage

FILE = "history.jsonl"

Event = dict[str, Any]


class History(NamedTuple):
    """A run's events in order of their steps, each step once.

    Attributes:
        steps: ``step``, ``phase``, ``loss``, ``heatmap``, ``paf``, ``learning_rate``, ``images_per_second``.
        accuracy: ``step``, ``ap``, ``ap50`` and so on, one for each evaluation.
        damaged: lines that could not be read; a run that was killed may leave half of one.
    """

    steps: list[Event]
    accuracy: list[Event]
    damaged: int = 0


def read_history(run: str) -> History:
    """The history in a run's folder, local or ``gs://``; empty if there is none yet.

    A run that goes on from a checkpoint repeats the steps since: what it wrote later replaces those.

    Raises:
        StorageError: the file is there but cannot be read.
    """
    path = storage.join(run, FILE)
    if not storage.exists(path):
        return History([], [])
    return parse_history(storage.read_bytes(path).decode("utf-8", "replace").splitlines())


def parse_history(lines: Iterable[str]) -> History:
    """The history in these lines; see `read_history`."""
    steps: list[Event] = []
    accuracy: list[Event] = []
    damaged = 0
    for line in filter(str.strip, lines):
        event = _parse(line)
        if event is None:
            damaged += 1
        elif "ap" in event:
            accuracy = [known for known in accuracy if known["step"] < event["step"]] + [event]
        else:
            if steps and steps[-1]["step"] >= event["step"]:  # the run went back to a checkpoint
                steps = [known for known in steps if known["step"] < event["step"]]
                accuracy = [known for known in accuracy if known["step"] <= event["step"]]
            steps.append(event)
    return History(steps, accuracy, damaged)


def points(events: Iterable[Event], name: str) -> list[tuple[int, float]]:
    """Steps and values of one quantity, without those that are missing or no finite number."""
    found = ((event["step"], event.get(name)) for event in events)
    return [(step, float(value)) for step, value in found if is_number(value)]


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is a finite number (and no truth value)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parse(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and type(event.get("step")) is int else None
