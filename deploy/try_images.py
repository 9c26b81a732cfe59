"""Tries the images that deploy/build-without-docker.sh built, and prints their sizes: `python -m deploy.try_images`.

The containers run as a careful operator would run them: as the image's user, without capabilities, with a read-only
root file system and volumes of their own. Takes the options of the build script, so that `make images ARGS=...` tries
what it built. Exit code 1 with one line if a promise is not kept. Needs root, buildah and crun.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.images.image import Image, ImageError, files_of, read_image
from deploy.images.serving import try_serving
from deploy.images.sizes import MEGABYTE, above_base, biggest_parts
from deploy.images.training import new_trainer, try_serving_trained, try_training

ROOT = Path(__file__).resolve().parent.parent
LARGEST_SERVE = 700 * MEGABYTE
"""Unpacked, above the base; without TensorFlow."""

_PARTS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Try them, and give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="yaop-images-", dir="/var/tmp") as folder:
            _try_all(options, Path(folder))
    except ImageError as error:
        sys.stderr.write(f"try_images: {error}\n")
        return 1
    return 0


def _try_all(options: argparse.Namespace, work: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    serve = _tag("yaop-serve", version, options.variant, "litert")
    train = _tag("yaop-train", version, options.device, "cpu")
    if not options.train_only:
        with _opened(serve) as (image, root):
            _print_size(image, root, LARGEST_SERVE if options.variant == "litert" else None)
            engine = "litert" if options.variant == "litert" else "tensorflow"
            try_serving(image, root, _folder(work, "serve"), _tell, engine)
    if not options.serve_only:
        with _opened(train) as (image, root):
            _print_size(image, root, None)
            trainer = new_trainer(image, root, _folder(work, "train"))
            try_training(trainer, _tell)
        with _opened(serve) as (image, root):
            _say(f"{image.name} with the models volume of the trainer")
            try_serving_trained(trainer, image, root, _folder(work, "trained"), _tell)


def _print_size(image: Image, root: Path, largest: int | None) -> None:
    size = above_base(image, root)
    _say(f"{image.name}: {size / MEGABYTE:.0f} MB unpacked, above its base")
    _tell("biggest: " + ", ".join(f"{name} {part / MEGABYTE:.0f}" for name, part in biggest_parts(root, _PARTS)))
    if largest is not None and size > largest:
        raise ImageError(f"{image.name} is larger than {largest / MEGABYTE:.0f} MB")


@contextmanager
def _opened(name: str) -> Iterator[tuple[Image, Path]]:
    with files_of(name) as root:
        yield read_image(name), root


def _folder(work: Path, name: str) -> Path:
    folder = work / name
    folder.mkdir()
    return folder


def _tag(name: str, version: str, kind: str, usual: str) -> str:
    return f"{name}:{version}" if kind == usual else f"{name}:{version}-{kind}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _tell(line: str) -> None:
    _say(f"  {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.try_images", description="Try the container images.")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--serve-only", action="store_true", help="only the serving image")
    only.add_argument("--train-only", action="store_true", help="only the trainer, and its model in the serving image")
    parser.add_argument("--variant", default="litert", choices=["litert", "tensorflow", "gpu"], help="of yaop-serve")
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu", "tpu"], help="of yaop-train")
    for option in ("--base", "--mirror"):
        parser.add_argument(option, help="not used here: an option of the build script")
    return parser


if __name__ == "__main__":
    sys.exit(main())
