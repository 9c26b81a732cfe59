"""The report of a run, ``report.html`` in its folder: what was done, curves, accuracy, and pictures to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.errors import YaopError
from shared.images import RgbImage
from trainer import storage
from trainer.history import FILE as HISTORY_FILE
from trainer.history import read_history
from trainer.machine_name import describe_machine
from trainer.report_page import RunRecord, render

FILE = "report.html"
FACTS_FILE = "facts.json"
RECIPE_FILE = "recipe.json"
EVALUATION_FILES = ("evaluation.json", "evaluation/evaluation.json")
PICTURES = "pictures"

_MOST_PICTURES = 12


class ReportError(YaopError):
    """A run that nothing can be reported of; the message begins with its address."""


def write_report(run: str, facts: Mapping[str, str] | None = None) -> str:
    """Write the report of a run, finished or not: one page that needs nothing but itself.

    It reads ``recipe.json``, ``history.jsonl`` (see `trainer.history`), ``evaluation.json`` (or
    ``evaluation/evaluation.json``) and ``pictures/*.png`` from the run's folder; each of them may be missing, but
    not both of the first two.

    Args:
        run: the run's folder, local or ``gs://``.
        facts: what the files don't say, by name: ``command``, ``data``, ``hardware``, ``duration``, anything. They are
            kept in ``facts.json`` for the next report of the same run; `hardware` is found out if it is never given.

    Returns:
        address of the page.

    Raises:
        ReportError: there is no run, or one of its files is no JSON.
        StorageError: a file cannot be read or written.
    """
    history = read_history(run)
    recipe = _read_json(run, RECIPE_FILE)
    if recipe is None and not history.steps and not history.accuracy:
        raise ReportError(f"{run}: no run to report: neither {RECIPE_FILE} nor {HISTORY_FILE} is there")
    record = RunRecord(
        name=run.rstrip("/").rsplit("/", 1)[-1],
        recipe=_mapping(recipe),
        history=history,
        facts=_keep_facts(run, facts or {}),
        evaluation=next((found for name in EVALUATION_FILES if (found := _read_json(run, name)) is not None), None),
        pictures=_read_pictures(run),
    )
    path = storage.join(run, FILE)
    storage.write_bytes(path, render(record).encode())
    return path


def keep_pictures(run: str, pictures: Mapping[str, RgbImage]) -> None:
    """Keep pictures (see `trainer.pictures.sample_pictures`) for the report, in place of earlier ones of these names.

    Raises:
        StorageError: they cannot be written.
    """
    from trainer.pictures import encode_png

    storage.make_folder(storage.join(run, PICTURES))
    for name, picture in pictures.items():
        storage.write_bytes(storage.join(run, PICTURES, f"{name}.png"), encode_png(picture))


def _keep_facts(run: str, given: Mapping[str, str]) -> dict[str, str]:
    known = {str(name): str(value) for name, value in _mapping(_read_json(run, FACTS_FILE)).items()}
    facts = known | dict(given)
    facts.setdefault("hardware", describe_machine())
    if facts != known:
        storage.write_bytes(storage.join(run, FACTS_FILE), (json.dumps(facts, indent=2) + "\n").encode())
    return facts


def _read_json(run: str, name: str) -> Any:
    """The content of a JSON file of the run; None if it is not there."""
    path = storage.join(run, name)
    if not storage.exists(path):
        return None
    try:
        return json.loads(storage.read_bytes(path))
    except ValueError as error:
        raise ReportError(f"{path}: not JSON ({error}); delete it or make it anew") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_pictures(run: str) -> dict[str, bytes]:
    """PNG files by name; of many, the last names."""
    folder = storage.join(run, PICTURES)
    names = [name for name in storage.list_folder(folder) if name.endswith(".png") and not name.startswith(".")]
    return {
        name.removesuffix(".png"): storage.read_bytes(storage.join(folder, name)) for name in names[-_MOST_PICTURES:]
    }
