"""``yaop models``: which bundles there are, and putting a trained one where the service finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.bundle import MANIFEST_FILE, Bundle, BundleError, find_bundle, list_bundles, load_bundle, shipped_models_dir
from shared.promotion import previous_of, promote, roll_back

app = typer.Typer(no_args_is_help=True, help="List, show, promote and roll back model bundles.")

ModelsDirOption = Annotated[
    Path | None, typer.Option(envvar="YAOP_MODELS_DIR", help="Folder of bundles that the service looks in first.")
]


@app.command("list")
def list_models(models_dir: ModelsDirOption = None) -> None:
    """List the bundles in the models folder and those that come with YAOP."""
    for name, folder in sorted(list_bundles(_folders(models_dir)).items()):
        try:
            bundle = load_bundle(folder, verify=False)
        except BundleError as error:
            typer.echo(f"{name}  damaged: {error}")
            continue
        typer.echo(f"{name}  {bundle.manifest.version}  {bundle.manifest.skeleton}  {_accuracy(bundle)}  {folder}")


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Name of a bundle.")], models_dir: ModelsDirOption = None
) -> None:
    """Verify a bundle and print its model card."""
    bundle = load_bundle(find_bundle(name, _folders(models_dir)))
    card = bundle.path / "model_card.md"
    facts = card.read_text("utf-8") if card.is_file() else bundle.manifest.model_dump_json(indent=2, exclude_none=True)
    typer.echo(facts)
    previous = previous_of(bundle.path)
    typer.echo(f"Folder: {bundle.path}")
    typer.echo(f"Previous version: {previous.manifest.version if previous else 'none'}")


@app.command("promote")
def promote_model(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_BUNDLE", help="Folder of a run, or of a bundle.")],
    models_dir: ModelsDirOption = None,
    name: Annotated[str | None, typer.Option(help="Name to serve it by. Default: the bundle's.")] = None,
) -> None:
    """Put a bundle where the service finds it; the version before is kept for `rollback`.

    A running service goes on with what it has loaded until it is told: POST /models/reload, with the admin key.
    """
    bundle = promote(_bundle_in(source), _required(models_dir), name)
    typer.echo(f"promoted {bundle.manifest.name} {bundle.manifest.version} to {bundle.path}")


@app.command("rollback")
def rollback_model(
    name: Annotated[str, typer.Argument(help="Name of a bundle.")], models_dir: ModelsDirOption = None
) -> None:
    """Put the version before back; done twice, it undoes itself."""
    bundle = roll_back(_required(models_dir), name)
    typer.echo(f"{bundle.manifest.name} is {bundle.manifest.version} again, in {bundle.path}")


def _folders(models_dir: Path | None) -> list[Path]:
    return [folder for folder in (models_dir, shipped_models_dir()) if folder is not None]


def _required(models_dir: Path | None) -> Path:
    if models_dir is None:
        raise BundleError("where to? Give the service's models folder with --models-dir or YAOP_MODELS_DIR")
    return models_dir


def _bundle_in(source: Path) -> Path:
    """The bundle that a run exported, or the folder itself."""
    inside = source / "bundle"
    if (source / "recipe.json").is_file() and not inside.exists() and not (source / MANIFEST_FILE).is_file():
        raise BundleError(f"{source}: this run has no bundle yet; make it with `yaop train export {source}`")
    return inside if (inside / MANIFEST_FILE).is_file() and not (source / MANIFEST_FILE).is_file() else source


def _accuracy(bundle: Bundle) -> str:
    best = max((row.ap for row in bundle.manifest.accuracy if row.system is None), default=None)
    return "AP not measured" if best is None else f"AP {best:.3f}"
