"""`yaop train doctor`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.commands.options import (
    DEFAULT_DATA,
    DEFAULT_RECORDS,
    DEFAULT_RUNS,
    DataOption,
    RecipeOption,
    RecordsOption,
    RunsOption,
)

if TYPE_CHECKING:
    from trainer.diagnosis import Check

_COLOURS = {"OK": typer.colors.GREEN, "WARN": typer.colors.YELLOW, "FAIL": typer.colors.RED}


def doctor(
    recipe: RecipeOption = "smoke",
    data: DataOption = DEFAULT_DATA,
    records: RecordsOption = DEFAULT_RECORDS,
    runs: RunsOption = DEFAULT_RUNS,
    bundles: Annotated[
        Path | None,
        typer.Option(envvar="YAOP_MODELS_DIR", help="Folder of bundles that the service looks in first."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at this machine, the folders and the data of a recipe; exit code 2 if training could not work."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from trainer.diagnosis import Status
    from trainer.doctor import Places, examine

    checks = examine(recipe, Places(data, records, runs, str(bundles) if bundles else None))
    healthy = all(check.status is not Status.FAIL for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": healthy, "checks": [check.to_json() for check in checks]}, indent=2))
    else:
        _print_table(checks)
    if not healthy:
        raise typer.Exit(2)


def _print_table(checks: Sequence[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = typer.style(f"{check.status:4}", fg=_COLOURS[check.status])
        typer.echo(f"{status}  {check.name:{width}}  {check.detail}")
        if check.hint:
            typer.echo(f"{'':{width + 8}}-> {check.hint}")
