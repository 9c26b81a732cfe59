"""An image as buildah has it: what it starts, its files, and how much room they take."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from os import environ
from pathlib import Path

from shared.errors import YaopError


class ImageError(YaopError):
    """An image that is missing, or that does not do what it should; the message says which and what."""


@dataclass(frozen=True)
class Image:
    """What an image says about itself.

    Attributes:
        name: with its tag.
        base: name of the image that it is made from.
        environment: ``NAME=value`` each.
        entrypoint, command: what it starts, and the arguments unless others are given.
        user: numbers of user and group.
        folder: where it starts in.
        health: the command of its HEALTHCHECK, or nothing.
    """

    name: str
    base: str
    environment: tuple[str, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: tuple[int, int]
    folder: str
    health: tuple[str, ...]


def read_image(name: str) -> Image:
    """What buildah knows about an image.

    Raises:
        ImageError: it is not there, or does not say which user it runs as by number.
    """
    try:
        config = json.loads(_buildah("inspect", "--type", "image", name))["Docker"]["config"]
        user, _, group = config["User"].partition(":")
        health = config.get("Healthcheck", {}).get("Test") or ["NONE"]
        return Image(
            name=name,
            base=config["Labels"]["org.opencontainers.image.base.name"],
            environment=tuple(config["Env"]),
            entrypoint=tuple(config["Entrypoint"]),
            command=tuple(config.get("Cmd") or ()),
            user=(int(user), int(group)),
            folder=config["WorkingDir"],
            health=tuple(health[1:]) if health[0] == "CMD" else (),
        )
    except (KeyError, ValueError) as error:
        raise ImageError(f"{name}: its configuration lacks {error}") from None


@contextmanager
def files_of(name: str) -> Iterator[Path]:
    """The folder of an image's files, for the time of the block. Raises `ImageError` if the image is not there."""
    container = _buildah("from", "--pull-never", name)
    try:
        yield Path(_buildah("mount", container))
    finally:
        _buildah("rm", container)


def room(paths: Sequence[Path]) -> int:
    """Bytes that these files and folders take on the disk, each file once."""
    sizes = {
        (status.st_dev, status.st_ino): status.st_blocks * 512
        for top in paths
        for path in (top, *top.rglob("*"))
        if (status := path.lstat())
    }
    return sum(sizes.values())


@cache
def _environment() -> dict[str, str]:
    """As in build-without-docker.sh: where buildah's usual storage does not work, the driver that always does."""
    usual = subprocess.run(["buildah", "info"], capture_output=True, check=False).returncode == 0
    return dict(environ) if usual else environ | {"STORAGE_DRIVER": "vfs"}


def _buildah(*arguments: str) -> str:
    try:
        done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=False, env=_environment())
    except FileNotFoundError:
        raise ImageError("buildah is missing; on Debian: apt-get install buildah") from None
    if done.returncode != 0:
        raise ImageError(f"buildah {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()
