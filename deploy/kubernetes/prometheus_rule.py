"""`python -m deploy.kubernetes.prometheus_rule` writes the alerts of `deploy/prometheus` as a PrometheusRule object.

kustomize reads no files outside of its own folder, so the object is a copy; a test says when it is an old one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).parents[1] / "prometheus" / "alerts.yml"
DESTINATION = Path(__file__).parent / "components" / "monitoring" / "alerts.yaml"

_GONE = frozenset({"YaopReplicasLost", "YaopWorkersLost"})
"""Here an autoscaler takes pods away on purpose, and Kubernetes replaces lost ones."""

_MEMORY = frozenset({"YaopMemoryHigh", "yaop:memory_limit_bytes"})
"""They know one limit for all; here each pod has its own, which the cluster's monitoring knows (README.md)."""

UNFIT = _GONE | _MEMORY
"""Alerts, and records that they are made of, that are of no use here."""

_HEADER = "# Written by `python -m deploy.kubernetes.prometheus_rule` from deploy/prometheus/alerts.yml.\n"


def prometheus_rule(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """The object that Prometheus' operator reads, from the groups of a rules file."""
    fit = [group | {"rules": [rule for rule in group["rules"] if _is_fit(rule)]} for group in groups]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "yaop"},
        "spec": {"groups": [group for group in fit if group["rules"]]},
    }


def render() -> str:
    """The text of the file."""
    groups = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["groups"]
    return _HEADER + yaml.dump(prometheus_rule(groups), Dumper=_Dumper, sort_keys=False, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _is_fit(rule: dict[str, Any]) -> bool:
    return rule.get("alert", rule.get("record")) not in UNFIT


if __name__ == "__main__":
    DESTINATION.write_text(render(), encoding="utf-8")
