"""`yaop train export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import YaopError
from trainer.commands.options import RecipeOption

if TYPE_CHECKING:
    from trainer.export import ExportOptions
    from trainer.quantization import HeldOut

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class WeightsChoice(StrEnum):
    """How the LiteRT file stores its weights."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    INT8 = "int8"


class WhichChoice(StrEnum):
    """Which weights of a run."""

    AUTO = "auto"
    BEST = "best"
    FINAL = "final"


def export(
    source: Annotated[str, typer.Argument(metavar="RUN_OR_WEIGHTS", help="Folder of a run, or *.weights.h5.")],
    destination: Annotated[
        Path | None, typer.Argument(help="Folder of the bundle to write. Default: RUN/bundle.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version written into the bundle; default: the time.")] = None,
    recipe: RecipeOption = "mobilenet_fpn",
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the network's.")] = None,
    licence: Annotated[str, typer.Option(help="Licence written into the bundle.")] = "Apache-2.0",
    which: Annotated[WhichChoice, typer.Option(help="Weights of the run; auto: best if there are.")] = WhichChoice.AUTO,
    resolution: Annotated[
        str | None, typer.Option(help="Long sides to export, as in 256,384. Fewer are faster. Default: nine to 1024.")
    ] = None,
    litert: Annotated[
        WeightsChoice, typer.Option(help="What model.tflite holds; int8 only if it costs at most 1 AP.")
    ] = WeightsChoice.FLOAT16,
    calibration: Annotated[
        Path | None, typer.Option(help="Pictures for int8: then it computes in int8, else only weights are int8.")
    ] = None,
    annotations: Annotated[Path | None, typer.Option(help="COCO keypoint JSON that int8 is judged by.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of its pictures.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many of them.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite an existing bundle.")] = False,
) -> None:
    """Write a model bundle: SavedModel, LiteRT file, manifest, model card.

    A run's folder says itself which recipe it was trained by; weights alone need --recipe. Nothing is written unless
    the LiteRT file gives what the network gives.
    """
    long_sides = parse_long_sides(resolution)
    held_out = _held_out(annotations, images, limit)
    pictures = _pictures(calibration)
    _require_tensorflow()
    from trainer.export import ExportOptions
    from trainer.export_run import Naming, export_run

    options = ExportOptions(replace, held_out, pictures, progress=_progress, say=typer.echo)
    naming = Naming(name, version, licence)
    if source.endswith(".h5"):
        written = _export_file(source, destination, recipe, naming, long_sides, litert, options)
    else:
        bundle = export_run(
            source,
            destination,
            which=which.value,
            naming=naming,
            long_sides=long_sides,
            weights=litert.value,
            options=options,
        )
        written = bundle.path
    typer.echo(f"wrote {written}")


def parse_long_sides(text: str | None) -> tuple[int, ...]:
    """Long sides of network inputs, from numbers with commas; all usual ones for None.

    Raises:
        YaopError: one is no multiple of 32 between 32 and 4096.
    """
    if text is None:
        from trainer.export import LONG_SIDES

        return LONG_SIDES
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) % 32 == 0 and 32 <= int(part) <= 4096 for part in parts):
        raise YaopError(f"--resolution {text}: give multiples of 32 up to 4096 with commas, as in 256,384")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _export_file(
    source: str,
    destination: Path | None,
    recipe_name: str,
    naming: object,
    long_sides: tuple[int, ...],
    litert: WeightsChoice,
    options: ExportOptions,
) -> Path:
    from shared.skeleton import load_skeleton
    from trainer.export import export_bundle
    from trainer.export_run import Naming, load_model, make_manifest, with_recipe
    from trainer.recipe import load_recipe

    assert isinstance(naming, Naming)
    if destination is None:
        raise YaopError(f"{source}: say which folder the bundle goes to")
    recipe = load_recipe(recipe_name)
    skeleton = load_skeleton(recipe.skeleton)
    model = load_model(source, recipe, skeleton)
    manifest = make_manifest(recipe, skeleton, naming, long_sides, litert.value)
    return export_bundle(model, manifest, destination, with_recipe(options, recipe)).path


def _held_out(annotations: Path | None, images: Path | None, limit: int | None) -> HeldOut | None:
    if annotations is None and images is None:
        return None
    if annotations is None or images is None:
        raise YaopError("--annotations and --images belong together: give both")
    from trainer.quantization import HeldOut

    return HeldOut(annotations, images, limit=limit)


def _pictures(folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        return ()
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise YaopError(f"--calibration {folder}: has no pictures ({', '.join(IMAGE_SUFFIXES)})")
    return tuple(found)


def _require_tensorflow() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise YaopError(
            "export runs on TensorFlow: call it with KERAS_BACKEND=tensorflow (weights of any backend can be exported)"
        )


def _progress(done: int, total: int) -> None:
    typer.echo(f"converted {done} of {total} shapes")
