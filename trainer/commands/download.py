"""`yaop train download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainer.commands.options import DEFAULT_DATA, DataOption

FOLDER = "coco"


def download(
    data: DataOption = DEFAULT_DATA,
    coco: Annotated[
        Path | None, typer.Option(help="Use a copy that is on this disk: folder of COCO 2017; nothing is downloaded.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(envvar="YAOP_TRAIN_COCO_URL", help="Address of a mirror; default: the publisher's.")
    ] = None,
    keep_zips: Annotated[bool, typer.Option(help="Keep the zip files once they are unpacked.")] = False,
) -> None:
    """Fetch COCO 2017 keypoints (20 GB, 41 GB of disk while unpacking) into DATA/coco; goes on where it stopped."""
    from trainer import storage
    from trainer.data.fetch import DownloadError

    if storage.is_remote(data):
        raise DownloadError(f"--data {data}: must be a folder of this machine; only records may be in a bucket")
    folder = Path(data) / FOLDER
    if coco is not None:
        _use_copy(coco, folder)
    else:
        _download(folder, url, keep_zips)


def _download(folder: Path, url: str | None, keep_zips: bool) -> None:
    from trainer.data import download as coco_2017
    from trainer.data.meter import terminal_meter

    options = coco_2017.DownloadOptions(url=url or coco_2017.COCO_URL, keep_zips=keep_zips)
    with terminal_meter() as meter:
        worked = coco_2017.download(coco_2017.COCO_2017, folder, meter, options)
    typer.echo(f"COCO 2017 is in {folder}" if worked else f"COCO 2017 is in {folder} already; nothing to do")


def _use_copy(source: Path, folder: Path) -> None:
    from trainer.data.coco_link import find_coco, link_coco

    found = find_coco(source)
    for split, count in found.missing.items():
        typer.echo(f"warning: {count} annotated pictures of {split} are not there", err=True)
    if link_coco(found, folder):
        typer.echo(f"{folder} now refers to {source}")
    else:
        typer.echo(f"{folder} refers to {source} already; nothing to do")
