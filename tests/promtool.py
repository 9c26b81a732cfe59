"""Prometheus' own checker of rules, for tests; and what PromQL expressions are made of."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests.server_process import ROOT

RULES = ROOT / "deploy" / "prometheus"

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_METRIC = re.compile(r"\b((?:yaop|process|python|prometheus)_\w+|yaop:\w+|up|ALERTS)\b")
_SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)\s*\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def promtool(*arguments: str | Path) -> None:
    """Run it; a failure is the test's. Skips the test where Prometheus is not installed."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on this machine: install Prometheus")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_expressions(expressions: Sequence[str], folder: Path) -> None:
    """All of them are PromQL; they are written to a rules file in `folder`, which promtool reads."""
    rules = [{"record": f"test:{number}", "expr": text} for number, text in enumerate(expressions)]
    file = folder / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "test", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", file)


def metrics_in(expression: str) -> set[str]:
    """Names of the metrics that an expression asks for."""
    bare = _TEXT.sub("", expression)
    return set(_METRIC.findall(_GROUPING.sub("", bare))) | {name for name, _ in _SELECTOR.findall(bare)}


def labels_in(expression: str) -> Iterator[tuple[str | None, str]]:
    """Pairs of a metric and a label that it is asked for; None is whatever the label is grouped with."""
    bare = _TEXT.sub("", expression)
    for metric, matchers in _SELECTOR.findall(bare):
        yield from ((metric, label) for label in _LABEL.findall(matchers))
    for labels in _GROUPING.findall(bare):
        yield from ((None, label.strip()) for label in labels.split(",") if label.strip())
