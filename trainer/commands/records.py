"""`yaop train records`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.commands.options import DEFAULT_DATA, DEFAULT_RECORDS, DataOption, RecipeOption, RecordsOption, SetOption

if TYPE_CHECKING:
    from trainer.data.shards import Progress
    from trainer.recipe import DataSource

_MEGABYTE = 1e6


@dataclass(frozen=True)
class DataSet:
    """A data set and where its records go; without `annotations` nobody is in any of its pictures."""

    annotations: Path | None
    images: Path
    only_labelled: bool
    folder: str


def records(
    data: DataOption = DEFAULT_DATA,
    records: RecordsOption = DEFAULT_RECORDS,
    recipe: RecipeOption = "mobilenet_fpn",
    overrides: SetOption = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures: write this one data set, not the recipe's.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO keypoint JSON of --images; without it nobody is in them.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder or gs:// address for the records of --images.")] = None,
    only_labelled: Annotated[
        bool, typer.Option(help="The pictures show people without any mark, and 0 means 'not annotated'.")
    ] = False,
    skeleton: Annotated[str, typer.Option(help="With --images: a skeleton's name, or its .json file.")] = "body_18",
    verify: Annotated[
        bool, typer.Option("--verify", help="Write nothing; compare what is there with its sums.")
    ] = False,
    shard_size: Annotated[int, typer.Option(min=1, help="Pictures in a shard.")] = 1000,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one on each CPU.")] = 0,
    max_side: Annotated[int, typer.Option(min=0, help="Shrink pictures with a longer side; 0: keep them.")] = 0,
) -> None:
    """Write data sets as TFRecord shards, all of a recipe or one; what is there already is not written again."""
    if images is None and (annotations or out or only_labelled):
        raise typer.BadParameter("goes with --annotations, --out and --only-labelled", param_hint="--images")
    if images is not None:
        if out is None:
            raise typer.BadParameter("says where the records of --images go", param_hint="--out")
        sets = [DataSet(annotations, images, only_labelled, out)]
    else:
        from trainer.job import make_own_data
        from trainer.recipe import load_recipe, with_overrides

        chosen = with_overrides(load_recipe(recipe), overrides or [])
        sets, skeleton = data_sets(chosen.sources, data, records), chosen.skeleton
        if not verify:
            make_own_data(chosen, Path(data))
    if verify:
        verify_sets([entry.folder for entry in sets])
    else:
        write_sets(sets, skeleton, shard_size=shard_size, workers=workers, max_side=max_side)


def data_sets(sources: Sequence[DataSource], data: str, records: str) -> list[DataSet]:
    """A recipe's sources as files below the data folder, and their folders of records."""
    from trainer import storage

    if storage.is_remote(data):
        raise storage.StorageError(f"{data}: pictures and annotations are read from a local folder only")
    root = Path(data)
    return [
        DataSet(
            root / source.annotations if source.annotations else None,
            root / source.images,
            source.only_labelled,
            storage.join(records, source.name),
        )
        for source in sources
    ]


def write_sets(
    sets: Sequence[DataSet], skeleton: str, *, shard_size: int = 1000, workers: int = 0, max_side: int = 0
) -> None:
    """Write the records of all data sets and tell what is in them.

    Raises:
        YaopError: a file is missing, a folder cannot be written, or a data set is refused. Places are looked at
            before any work starts.
    """
    from shared.skeleton import load_skeleton
    from trainer.data.coco import load_background, load_dataset
    from trainer.data.records import prepare_folder, write_records

    bones = load_skeleton(skeleton)
    for entry in sets:
        _check_inputs(entry)
    for entry in sets:
        prepare_folder(entry.folder)
    for entry in sets:
        start = time.monotonic()
        if entry.annotations:
            found, report = load_dataset(entry.annotations, entry.images, bones, only_labelled=entry.only_labelled)
        else:
            found, report = load_background(entry.images, bones)
        options = {"shard_size": shard_size, "workers": workers, "max_side": max_side}
        with _progress_bar(entry.folder) as progress:
            manifest = write_records(found, entry.folder, skeleton=bones, progress=progress, report=report, **options)
        size = sum(shard.bytes for shard in manifest.shards) / _MEGABYTE
        seconds = time.monotonic() - start
        typer.echo(f"{entry.folder}: {len(manifest.shards)} shards, {size:,.1f} MB, {seconds:.1f} s\n{manifest.report}")


def verify_sets(folders: Sequence[str]) -> None:
    """Compare folders of records with their manifests.

    Raises:
        YaopError: the first difference.
    """
    from trainer.data.records import read_manifest, verify_records

    for folder in folders:
        verify_records(folder)
        manifest = read_manifest(folder)
        typer.echo(f"{folder}: {len(manifest.shards)} shards, {manifest.pictures:,d} pictures: as the manifest says")


def _check_inputs(entry: DataSet) -> None:
    from trainer.data.coco import DatasetError

    if entry.annotations and not entry.annotations.is_file():
        raise DatasetError(f"{entry.annotations}: no such file; --data names the folder that data sets are in")
    if not entry.images.is_dir():
        raise DatasetError(f"{entry.images}: no such folder; --data names the folder that data sets are in")


@contextmanager
def _progress_bar(label: str) -> Iterator[Progress | None]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)
