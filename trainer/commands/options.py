"""Command-line options that several sub-commands share, and the storage profile: where data, runs and bundles are.

Each place is one option with one environment variable, so that a machine is set up once: a folder, or a ``gs://``
address wherever the help says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    str, typer.Option(envvar="YAOP_TRAIN_DATA", help="Folder of the data sets: pictures and annotations.")
]
RecordsOption = Annotated[
    str, typer.Option(envvar="YAOP_TRAIN_RECORDS", help="Folder or gs:// address of the TFRecord shards.")
]
RunsOption = Annotated[
    str, typer.Option(envvar="YAOP_TRAIN_RUNS", help="Folder or gs:// address that holds one folder for each run.")
]
BundlesOption = Annotated[
    Path, typer.Option(envvar="YAOP_MODELS_DIR", help="Folder of bundles that the service looks in first.")
]
RecipeOption = Annotated[str, typer.Option(help="Name of a recipe in trainer/recipes, or path of a recipe file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe, as in pipeline.batch=32."),
]

DEFAULT_DATA = "data"
DEFAULT_RECORDS = "data/records"
DEFAULT_RUNS = "runs"
