from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
import typer

from shared import cli
from shared.errors import YaopError


def greet(name: str = "you", count: int = 1) -> None:
    """Say hello."""
    typer.echo(f"hello {name} " * count)


def fail() -> None:
    raise YaopError("the thing is broken;\nmend it")


def lazy() -> None:
    importlib.import_module("a_package_that_is_not_installed")


def stop() -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four commands that work and one whose module needs a package that is not there."""
    group = typer.Typer(help="Two things.")
    group.command("one")(greet)
    group.command("two")(fail)
    module = ModuleType("trainer.imaginary")
    module.__dict__.update(greet=greet, fail=fail, lazy=lazy, stop=stop, group=group)
    monkeypatch.setitem(sys.modules, "trainer.imaginary", module)
    targets = {name: f"trainer.imaginary:{name}" for name in ("greet", "fail", "lazy", "stop", "group")}
    targets["gone"] = "a_package_that_is_not_installed:app"
    entries = {name: EntryPoint(name, value, cli.COMMANDS_GROUP) for name, value in targets.items()}
    monkeypatch.setattr(cli, "_registered", lambda: entries)


def test_registered_functions_and_groups_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["greet", "--name", "Ada"]) == 0
    assert capsys.readouterr().out.strip() == "hello Ada"
    assert cli.main(["group", "one", "--count", "2"]) == 0
    assert capsys.readouterr().out.strip() == "hello you hello you"


def test_expected_failures_are_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["fail"], ["group", "two"]):
        assert cli.main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err == "error: the thing is broken; mend it\n"
        assert captured.out == ""


@pytest.mark.parametrize("arguments", [["nonsense"], ["greet", "--count", "many"], ["greet", "--wrong"]])
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err


def test_a_command_without_its_packages_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gone", "--any", "option"]) == 2
    assert "`yaop gone` needs the package 'a_package_that_is_not_installed'" in capsys.readouterr().err
    assert cli.main(["lazy"]) == 2
    assert capsys.readouterr().err == (
        "error: `yaop lazy` needs the package 'a_package_that_is_not_installed', which is not installed; "
        "install 'yaop[train]'\n"
    )


def test_the_help_lists_every_command_even_those_that_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("greet", "fail", "group", "gone", "Say hello", "--version"))


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    captured = capsys.readouterr()
    assert "Usage" in captured.out + captured.err


def test_the_version_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "version", lambda name: "1.2.3")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "yaop 1.2.3\n"


def test_an_interrupt_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stop"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["trainer.imaginary"], "greet", buggy)
    with pytest.raises(ZeroDivisionError):
        cli.main(["greet"])
