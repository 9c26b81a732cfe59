"""`yaop train preview`."""

from __future__ import annotations

from typing import Annotated

import typer

from trainer.commands.options import DEFAULT_RECORDS, RecipeOption, RecordsOption, SetOption


def preview(
    recipe: RecipeOption = "mobilenet_fpn",
    records: RecordsOption = DEFAULT_RECORDS,
    out: Annotated[str, typer.Option(help="Folder for the pictures.")] = "previews",
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 16,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipe's.")] = None,
    overrides: SetOption = None,
) -> None:
    """Write pictures of augmented samples with their targets, to look at before spending a night."""
    from trainer.preview import write_previews
    from trainer.recipe import load_recipe, with_overrides

    resolved = with_overrides(load_recipe(recipe), overrides or [])
    paths = write_previews(resolved, records, out, count=count, seed=seed)
    typer.echo(f"wrote {len(paths)} picture{'s' if len(paths) > 1 else ''}, the last one {paths[-1]}")
