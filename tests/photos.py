"""Real photographs on free terms, out of installed packages: nothing is downloaded, nothing is kept here.

Coordinates written beside a photograph are pixels of that photograph, made by hand and checked by eye.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB uint8 ``[height, width, 3]``."""

_SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp"}


@cache
def _packaged(package: str, path: str) -> Image:
    with as_file(files(package).joinpath(path)) as file:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    assert image is not None, f"{package} no longer ships {path}"
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    image.flags.writeable = False
    return image


def astronaut() -> Image:
    """Eileen Collins, head to waist, a helmet over her left arm, 512 x 512; NASA, public domain; from scikit-image."""
    return _packaged("skimage", "data/astronaut.png").copy()


def grace_hopper() -> Image:
    """Grace Hopper, head and chest, 512 x 600; US Navy, public domain; from matplotlib."""
    return _packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg").copy()


def nobody() -> Image:
    """A cup of coffee on a table, 600 x 400; CC0; from scikit-image."""
    return _packaged("skimage", "data/coffee.png").copy()


def side_by_side(*images: Image, height: int = 480) -> Image:
    """One picture of all of these at this height, left to right."""
    sizes = [(round(image.shape[1] * height / image.shape[0]), height) for image in images]
    scaled = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image, size in zip(images, sizes, strict=True)]
    return np.ascontiguousarray(np.concatenate(scaled, axis=1), np.uint8)


def mirrored(image: Image) -> Image:
    """The picture flipped left to right."""
    return np.ascontiguousarray(image[:, ::-1])


def group(people: int = 3) -> Image:
    """A row of `people` portraits: the astronaut and Grace Hopper in turn, then both mirrored, and so on."""
    portraits = [astronaut(), grace_hopper(), mirrored(astronaut()), mirrored(grace_hopper())]
    return side_by_side(*(portraits[i % 4] for i in range(people)))


def encode(image: Image, kind: Literal["jpeg", "png", "webp", "bmp"] = "jpeg") -> bytes:
    """The bytes of an image file of this kind."""
    done, data = cv2.imencode(_SUFFIXES[kind], cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()
