"""How much room an image takes above its base, and what takes most of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.images.image import Image, files_of, room

_PACKAGES = "opt/yaop/lib/python*/site-packages"
MEGABYTE = 1_000_000


def above_base(image: Image, root: Path) -> int:
    """Bytes of the image's files, unpacked, less those of its base."""
    with files_of(image.base) as base:
        return room([root]) - room([base])


def biggest_parts(root: Path, count: int) -> list[tuple[str, int]]:
    """Names and bytes of the packages, the model and our own code that take most room, biggest first."""
    parts: dict[str, int] = {}
    for name, path in _parts(root):
        parts[name] = parts.get(name, 0) + room([path])
    return sorted(parts.items(), key=lambda part: -part[1])[:count]


def _parts(root: Path) -> Iterator[tuple[str, Path]]:
    for path in root.glob(f"{_PACKAGES}/*"):
        # A package's libraries lie beside it.
        yield {"opencv_python_headless": "cv2"}.get(name := path.name.partition(".libs")[0], name), path
    yield "models", root / "app" / "models"
    for path in (root / "app").iterdir():
        if path.name != "models":
            yield "YAOP itself", path
