"""docs/operations.md says what the code, the alerts and other documents say; its units and expressions are valid."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from service.metrics import Metrics
from service.reference import main, rewrite
from service.settings import PREFIX, SECRETS, Settings
from shared.errors import YaopError
from tests.promtool import check_expressions, metrics_in

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "operations.md"
UNITS = ROOT / "deploy" / "systemd"

_OTHER_VARIABLES = {SECRETS, "YAOP_NAME", "YAOP_NEW_DATABASE_URL"}


@pytest.fixture(scope="module")
def guide() -> str:
    return GUIDE.read_text(encoding="utf-8")


def slugs(text: str) -> set[str]:
    """What headings are called in links."""
    titles: list[str] = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def expressions(text: str) -> list[str]:
    return re.findall(r"```promql\n(.+?)\n```", text, re.DOTALL)


def test_the_tables_are_those_of_the_code(guide: str) -> None:
    assert rewrite(guide) == guide, "docs/operations.md is out of date: run make docs"


def test_tables_are_written_between_their_marks_and_nothing_else_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "guide.md"
    file.write_text("above\n<!-- settings -->before<!-- /settings -->\n<!-- metrics --><!-- /metrics -->\nbelow\n")
    assert main([str(file)]) == 0
    text = file.read_text()
    assert text.startswith("above\n<!-- settings -->\n") and text.endswith("<!-- /metrics -->\nbelow\n")
    assert "-->before" not in text
    assert "| `YAOP_PORT` | `--port` | 8000 | 0 to 65535 |" in text
    assert "| `YAOP_WORKER_PORT` | `yaop worker --port` | 0 |" in text
    assert "| `yaop_requests_total` | counter | `method`, `route`, `status` | service |" in text
    assert "| `yaop_jobs_finished_total` | counter | `state` | service, worker |" in text
    assert main([str(file)]) == 0 and file.read_text() == text


def test_every_setting_is_in_the_table_once_and_nothing_of_this_machine_or_secret(
    guide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAOP_ADMIN_KEY", "s3cret")
    text = rewrite(guide)
    assert "s3cret" not in text and str(Path.home()) not in text
    listed = re.findall(r"^\| `(YAOP_\w+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted(PREFIX + name.upper() for name in Settings.model_fields)


def test_a_document_without_marks_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "guide.md"
    file.write_text("no marks")
    with pytest.raises(YaopError, match="<!-- settings -->"):
        rewrite("no marks")
    assert main([str(file)]) == main([str(tmp_path / "none.md")]) == 2
    assert file.read_text() == "no marks"
    assert capsys.readouterr().err.count("\n") == 2


def test_each_alert_has_a_section_and_each_such_section_an_alert(guide: str) -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert set(re.findall(r"^### Alert (\w+)$", guide, re.MULTILINE)) == alerts


def test_links_lead_somewhere(guide: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", guide):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        file = (GUIDE.parent / path).resolve() if path else GUIDE
        assert file.exists(), target
        text = file.read_text(encoding="utf-8") if anchor else ""
        assert not anchor or anchor in slugs(text), target


def test_variables_that_are_named_exist(guide: str) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _OTHER_VARIABLES
    assert set(re.findall(r"\bYAOP_[A-Z_]+[A-Z]", guide)) <= known


def test_expressions_ask_for_metrics_that_exist(guide: str) -> None:
    known = {sample.removesuffix("_total") for sample in (family.name for family in Metrics().registry.collect())}
    asked = {name for expression in expressions(guide) for name in metrics_in(expression)}
    assert asked
    assert {re.sub("_(total|bucket|sum|count)$", "", name) for name in asked} <= known


def test_expressions_are_valid(guide: str, tmp_path: Path) -> None:
    check_expressions(expressions(guide), tmp_path)


def test_the_units_are_valid_and_hardened(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    for name in ("yaop.service", "yaop-worker@.service"):
        text = (UNITS / name).read_text(encoding="utf-8")
        unit = tmp_path / name.replace("@", "@8001")
        unit.write_text(text.replace("/opt/yaop/.venv/bin/yaop", "/bin/true"), encoding="utf-8")
        done = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.strip()) == (0, "")
        assert "NoNewPrivileges=yes" in text and "ProtectSystem=strict" in text and "CapabilityBoundingSet=\n" in text
