"""`yaop train run`: the whole job, from pictures to a bundle."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from trainer.commands.fit import (
    DevicesOption,
    DistributionOption,
    InitialOption,
    MovenetOption,
    resolve_recipe,
    run_address,
)
from trainer.commands.options import (
    DEFAULT_DATA,
    DEFAULT_RECORDS,
    DEFAULT_RUNS,
    DataOption,
    RecipeOption,
    RecordsOption,
    RunsOption,
    SetOption,
)


def run(
    recipe: RecipeOption = "mobilenet_fpn",
    overrides: SetOption = None,
    data: DataOption = DEFAULT_DATA,
    records: RecordsOption = DEFAULT_RECORDS,
    runs: RunsOption = DEFAULT_RUNS,
    run: Annotated[str | None, typer.Option(help="Name or folder of the run; one that was cut off goes on.")] = None,
    coco: Annotated[
        Path | None, typer.Option(help="Folder of COCO 2017 that is on this disk already, used in place of a download.")
    ] = None,
    distribution: DistributionOption = "cpu",
    devices: DevicesOption = 0,
    initial: InitialOption = None,
    movenet: MovenetOption = None,
    export: Annotated[bool, typer.Option(help="Write RUN/bundle at the end.")] = True,
) -> None:
    """All steps in order: records, fit, evaluate, export, report. Each goes on where it was cut off.

    Data is not downloaded by this command, as that takes hours and 41 GB: see `yaop train download`. The recipe smoke
    makes its own.
    """
    from trainer.job import Places, run_job

    resolved = resolve_recipe(recipe, overrides, initial)
    if coco is not None:
        from trainer.data.coco_link import find_coco, link_coco

        link_coco(find_coco(coco), Path(data))
    begin = time.monotonic()
    places = Places(data, records, run_address(runs, run, recipe))
    typer.echo(f"run {places.run}: records, fit, evaluate{', export' if export else ''}, report")
    bundle = run_job(
        resolved,
        places,
        distribution=distribution,
        devices=devices,
        movenet=movenet,
        export=export,
        command=" ".join(["yaop", *map(shlex.quote, sys.argv[1:])]),
    )
    typer.echo(f"done in {(time.monotonic() - begin) / 60:.1f} minutes: {places.run}/report.html")
    if bundle is not None:
        typer.echo(f"bundle: {bundle.path}; serve it with `yaop models promote {places.run} --models-dir MODELS`")
