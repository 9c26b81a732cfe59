"""The help of the commands says all that their options say."""

from __future__ import annotations

import re

import pytest

from shared import cli
from tests.conftest import ROOT

_SETTINGS = {"serve": "service/cli.py", "worker": "service/worker_cli.py"}


def help_of(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    assert cli.main([command, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", _SETTINGS)
def test_the_help_names_the_settings(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = set(re.findall(r"env: (YAOP_\w+)", (ROOT / _SETTINGS[command]).read_text("utf-8")))
    assert len(named) >= 8
    text = help_of(command, monkeypatch, capsys)
    assert "[env: YAOP_ENGINE]" in text
    assert set(re.findall(r"\[env: (YAOP_\w+)\]", text)) == named
    assert "\\[" not in text


def test_the_help_of_a_stream_says_what_goes_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of("stream", monkeypatch, capsys)
    for words in ("--camera", "--file", "--url", "--json", "--seconds", "YAOP_ALLOW_NETWORK"):
        assert words in text
