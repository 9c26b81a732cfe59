"""Which pictures a command line means."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import YaopError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp"})


@dataclass(frozen=True)
class Inputs:
    """Pictures to look at.

    Attributes:
        paths: in the order given; those of a folder or pattern sorted by name.
        many: whether the output is that of several pictures; false only for one named file.
    """

    paths: tuple[Path, ...]
    many: bool


def find_inputs(given: Sequence[str]) -> Inputs:
    """Files as they are, folders (with all below them) for their pictures, patterns for what they match.

    Raises:
        YaopError: something given matches nothing; the message starts with it.
    """
    paths = [path for text in given for path in _expand(text)]
    many = len(given) > 1 or not Path(given[0]).is_file()
    return Inputs(tuple(dict.fromkeys(paths)), many)


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        found = sorted(_pictures_below(path))
        if not found:
            raise YaopError(f"{text}: no pictures in this folder ({', '.join(sorted(SUFFIXES))})")
        return found
    if path.exists() or not glob.has_magic(text):
        return [path]  # one that does not exist is reported when it is read, as any other bad file
    found = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        raise YaopError(f"{text}: nothing matches this pattern")
    return found


def _pictures_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
