"""A photograph with three people, and who is in it according to the checkout's own `yaop pose`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.images.image import ImageError
from tests.photos import encode, group

PEOPLE = 3
_TOLERANCE = 0.5  # pixels: the same engine may round otherwise on another processor


def photograph() -> bytes:
    """A JPEG with three people in a row; public domain."""
    return encode(group(PEOPLE))


def found_here(photo: bytes, folder: Path, engine: str, models: Path | None = None) -> list[Any]:
    """The people that `yaop pose` finds in this checkout, with the bundles in `models` before the shipped one.

    Raises:
        ImageError: it fails.
    """
    path = folder / "photo.jpg"
    path.write_bytes(photo)
    options = ["--models-dir", str(models)] if models else []
    command = [sys.executable, "-m", "shared.cli", "pose", str(path), "--engine", engine, "--json", "-", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode != 0:
        raise ImageError(f"yaop pose in this checkout: {done.stderr.strip()}")
    return json.loads(done.stdout)["people"]


def same_people(found: list[Any], expected: list[Any]) -> float:
    """The largest distance, in pixels, between a keypoint and the expected one.

    Raises:
        ImageError: other people or other keypoints were found, or one is too far off.
    """
    if len(found) != len(expected):
        raise ImageError(f"found {len(found)} people where {len(expected)} are")
    distances = [0.0]
    for one, other in zip(found, expected, strict=True):
        for name, there in other["keypoints"].items():
            here = one["keypoints"][name]
            if (here is None) != (there is None):
                raise ImageError(f"{name}: found {here}, expected {there}")
            if here is not None:
                distances.append(max(abs(here["x"] - there["x"]), abs(here["y"] - there["y"])))
    if max(distances) > _TOLERANCE:
        raise ImageError(f"a keypoint is {max(distances):.2f} pixels off")
    return max(distances)
