"""The commands of this half: ``yaop serve`` and ``yaop pose``.

What a command needs is imported when it runs, so that ``yaop pose`` works without the packages of the server.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.parsing import RESOLUTION_VALUES, parse_resolution, parse_roi
from shared.errors import YaopError
from shared.geometry import Box
from shared.inference.engine import EngineChoice
from shared.inference.estimator import DEFAULT_MAX_PEOPLE, DEFAULT_MIN_SCORE, PoseOptions

SOME_FAILED = 2


class LayoutChoice(StrEnum):
    """How the data may be laid out."""

    NATIVE = "native"
    OPENPOSE = "openpose"
    COCO = "coco"
    CSV = "csv"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on \\[env: YAOP_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one \\[env: YAOP_PORT].")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, litert or tensorflow \\[env: YAOP_ENGINE].")] = None,
    model: Annotated[str | None, typer.Option(help="Models, separated by commas \\[env: YAOP_MODEL].")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of more bundles \\[env: YAOP_MODELS_DIR].")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the engine \\[env: YAOP_THREADS].")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error \\[env: YAOP_LOG_LEVEL].")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or text \\[env: YAOP_LOG_FORMAT].")] = None,
) -> None:
    """Serve poses over HTTP. Every setting can be given as YAOP_* in the environment or .env; flags win."""
    from service.launch import serve_forever
    from service.settings import load_settings

    settings = load_settings(
        host=host,
        port=port,
        engine=engine,
        model=model,
        models_dir=models_dir,
        threads=threads,
        log_level=log_level,
        log_format=log_format,
    )
    serve_forever(settings)


def pose(
    pictures: Annotated[list[str], typer.Argument(help="Pictures, folders of pictures, or patterns in quotes.")],
    out: Annotated[Path | None, typer.Option(help="Write overlays: a file, or a folder for several.")] = None,
    json: Annotated[str | None, typer.Option(help="Write the data: a file, or - for the standard output.")] = None,
    layout: Annotated[LayoutChoice, typer.Option("--format", help="Layout of the data.")] = LayoutChoice.NATIVE,
    resolution: Annotated[
        str, typer.Option(help=f"Long side of the network's input: {RESOLUTION_VALUES}.")
    ] = "balanced",
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help=f"Leave out people below it (default {DEFAULT_MIN_SCORE}; coco: 0)."),
    ] = None,
    max_people: Annotated[int, typer.Option(min=1, help="Most people in a picture.")] = DEFAULT_MAX_PEOPLE,
    flip: Annotated[
        bool, typer.Option("--flip", help="Look at the mirror image too: slower, a little better.")
    ] = False,
    roi: Annotated[str | None, typer.Option(help="Look only at x,y,width,height (pixels).")] = None,
    engine: Annotated[EngineChoice, typer.Option(envvar="YAOP_ENGINE", help="What runs it.")] = EngineChoice.AUTO,
    model: Annotated[str, typer.Option(envvar="YAOP_MODEL", help="Name of the model.")] = "mobilenet_fpn",
    models_dir: Annotated[Path | None, typer.Option(envvar="YAOP_MODELS_DIR", help="Folder of more bundles.")] = None,
) -> None:
    """Find the people in pictures, here, without a server.

    Without --out or --json the data goes to the standard output. Several pictures give JSON Lines (native), one
    list (coco), one table (csv), or a folder of NAME_keypoints.json (openpose).
    """
    from service.local.inputs import find_inputs
    from service.local.run import open_model, run

    options = PoseOptions(
        long_side=_checked_resolution(resolution),
        min_score=_min_score(min_score, layout),
        max_people=max_people,
        flip=flip,
        roi=_checked_roi(roi),
    )
    inputs = find_inputs(pictures)
    data = "-" if json is None and out is None else json
    with open_model(model.split(",")[0].strip(), models_dir, engine.value) as (bundle, loaded):
        try:
            failures = run(inputs, bundle, loaded, options, data, layout.value, out)
        except BrokenPipeError:  # the reader of the standard output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
    if failures:
        raise typer.Exit(SOME_FAILED)


def _min_score(given: float | None, layout: LayoutChoice) -> float:
    if given is not None:
        return given
    return 0.0 if layout is LayoutChoice.COCO else DEFAULT_MIN_SCORE


def _checked_resolution(text: str) -> int:
    try:
        return parse_resolution(text)
    except ValueError as error:
        raise YaopError(f"--resolution {text}: {error}") from None


def _checked_roi(text: str | None) -> Box | None:
    try:
        return parse_roi(text)
    except ValueError as error:
        raise YaopError(f"--roi {text}: {error}") from None
