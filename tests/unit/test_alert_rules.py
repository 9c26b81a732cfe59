"""The alerts: Prometheus takes them, each has been seen to fire, and each says what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.promtool import RULES, promtool
from tests.server_process import ROOT

GROUPS: list[dict[str, Any]] = yaml.safe_load((RULES / "alerts.yml").read_text(encoding="utf-8"))["groups"]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule
}
SETUP = yaml.safe_load((RULES / "prometheus.yml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    promtool("check", "config", RULES / "prometheus.yml")


@pytest.mark.slow
def test_every_alert_fires_when_it_should_and_is_quiet_when_all_is_well() -> None:
    promtool("test", "rules", RULES / "alerts_test.yml")


def test_every_alert_is_one_of_those_that_are_tried() -> None:
    tried = (RULES / "alerts_test.yml").read_text(encoding="utf-8")
    assert ALERTS
    assert [name for name in ALERTS if f'alertname="{name}", alertstate="firing"' not in tried] == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_help_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(alert["annotations"].values())


@pytest.mark.parametrize("name", ALERTS)
def test_the_help_for_an_alert_is_there(name: str) -> None:
    path, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")
    text = (ROOT / path).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert anchor in {*map(_anchor, headings), *re.findall(r'<a id="([^"]+)">', text)}


def test_prometheus_asks_services_of_the_compose_file_where_they_listen() -> None:
    ports = {
        "serve": 8000,
        "replica": 8000,
        "worker": int(COMPOSE["services"]["worker"]["environment"]["YAOP_WORKER_PORT"]),
    }
    jobs = [job for job in SETUP["scrape_configs"] if job["job_name"] != "prometheus"]
    asked = {job["dns_sd_configs"][0]["names"][0]: job["dns_sd_configs"][0]["port"] for job in jobs}
    assert asked == ports
    assert [job["job_name"] for job in jobs] == [f"yaop-{service}" for service in asked]


def test_processes_that_share_video_jobs_have_one_stack() -> None:
    stacks = {
        job["job_name"]: job["relabel_configs"][0]["replacement"]
        for job in SETUP["scrape_configs"]
        if "relabel_configs" in job
    }
    assert stacks == {"yaop-serve": "serve", "yaop-replica": "scale", "yaop-worker": "scale"}


def test_the_alert_on_memory_knows_the_limit_of_the_containers() -> None:
    (limit,) = [rule for group in GROUPS for rule in group["rules"] if rule.get("record") == "yaop:memory_limit_bytes"]
    assert COMPOSE["x-service"]["mem_limit"] == "${YAOP_MEMORY:-4g}"
    assert limit["expr"] == "vector(4 * 1024 * 1024 * 1024)"


def test_whoever_has_another_limit_is_told_to_change_it_in_the_rules() -> None:
    gpu = (ROOT / "deploy" / "compose.gpu.yml").read_text(encoding="utf-8")
    (limit,) = re.findall(r"\$\{YAOP_MEMORY:-(\w+)\}", gpu)
    for file in ("deploy/compose.gpu.yml", ".env.example", "deploy/prometheus/alerts.yml"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert limit in text and "yaop:memory_limit_bytes" in text, file
    gigabytes = limit.removesuffix("g")
    assert f"vector({gigabytes} * 1024 * 1024 * 1024)" in (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")


def _anchor(heading: str) -> str:
    """What Markdown viewers make of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
