"""Grafana's dashboard and the alerts ask for what the service really exports, in PromQL that Prometheus reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from tests.api_client import JPEG, serving
from tests.fake_engine import discs, person_at
from tests.photos import encode
from tests.promtool import RULES, check_expressions, labels_in, metrics_in
from tests.server_process import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
BOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "yaop.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]

# Prometheus itself adds these.
OF_PROMETHEUS = {"up", "ALERTS"}
OF_TARGETS = {"job", "instance", "stack"}


def _board_expressions() -> list[str]:
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return found + [annotation["expr"] for annotation in BOARD["annotations"]["list"]]


def _rule_expressions() -> list[str]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def _recorded() -> set[str]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


EXPRESSIONS = _board_expressions() + _rule_expressions()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of the time series at a service's /metrics, with the labels that each may have."""
    picture = encode(discs(320, 240, person_at(160, 120)), "jpeg")
    with serving(videos=True, data_dir=tmp_path_factory.mktemp("data")) as client:
        assert client.post("/pose", content=picture, headers=JPEG).status_code == 200
        text = client.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    return {name: labels for family in families for name, labels in _series(family)}


def _series(family: Metric) -> Iterator[tuple[str, set[str]]]:
    """What Prometheus stores of a metric, whether there is a series of it already or not."""
    seen = {label for sample in family.samples for label in sample.labels}
    labels = {*Metrics().labels.get(family.name, ()), *seen} - {"le"}
    if family.type == "histogram":
        yield from ((f"{family.name}_{part}", labels) for part in ("sum", "count"))
        yield f"{family.name}_bucket", labels | {"le"}
    else:
        yield f"{family.name}_total" if family.type == "counter" else family.name, labels


def test_every_metric_that_is_asked_for_is_exported(exported: dict[str, set[str]]) -> None:
    asked = set[str]().union(*map(metrics_in, EXPRESSIONS))
    assert len(asked) > 25
    assert asked - set(exported) - OF_PROMETHEUS - _recorded() == set()


def test_every_label_that_is_asked_for_is_one_of_its_metric(exported: dict[str, set[str]]) -> None:
    known = exported | {name: {"alertstate", "alertname"} for name in OF_PROMETHEUS}
    anywhere = set[str]().union(*known.values()) | OF_TARGETS
    pairs = {pair for expression in EXPRESSIONS for pair in labels_in(expression)}
    assert len(pairs) > 40
    unknown = {(name, label) for name, label in pairs if label not in (known[name] | OF_TARGETS if name else anywhere)}
    assert unknown == set()


def test_every_metric_of_ours_is_on_the_dashboard(exported: dict[str, set[str]]) -> None:
    shown = set[str]().union(*map(metrics_in, _board_expressions()))
    families = {re.sub("_(sum|count|bucket)$", "", name) for name in exported if name.startswith("yaop_")}
    assert {family for family in families if not any(name.startswith(family) for name in shown)} == set()


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    check_expressions([_as_grafana_sends_it(expression) for expression in _board_expressions()], tmp_path)


def test_panels_have_a_title_and_room_of_their_own() -> None:
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_uses_the_data_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))[
        "datasources"
    ]
    used = re.findall(
        r'"uid": "([^"]+)"', json.dumps(PANELS + BOARD["templating"]["list"] + BOARD["annotations"]["list"])
    )
    assert set(used) == {source["uid"]}


def _as_grafana_sends_it(expression: str) -> str:
    return expression.replace("$__rate_interval", "1m").replace("$job", "yaop-.+").replace("$instance", ".+")
