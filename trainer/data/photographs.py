"""Photographs on free terms that come with installed packages, and who is to be seen in them.

The labels are ours: made by hand on enlarged cut-outs and checked by eye, in pixels of the photograph as it is packaged
(pixel centres). Left and right are the person's. Origin and terms of each photograph are in `NOTICE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.skeleton import COCO_17_KEYPOINTS

Image = NDArray[np.uint8]
"""RGB uint8 ``[height, width, 3]``."""

_PACKAGES = {"skimage": "scikit-image", "matplotlib": "matplotlib"}


class PhotographError(YaopError):
    """A photograph that no installed package ships; the message says what to install."""


@dataclass(frozen=True)
class Person:
    """Somebody in a picture.

    Attributes:
        keypoints: float64 ``[17, 3]``: COCO's keypoints as x, y in pixels of the picture, and visibility (0 not
            labelled, 1 hidden, 2 seen).
        outline: float64 ``[P, 2]`` polygon around what is seen of them.
    """

    keypoints: NDArray[np.float64]
    outline: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A picture and everybody in it."""

    image: Image
    people: tuple[Person, ...] = ()


@dataclass(frozen=True)
class _Labels:
    package: str
    path: str
    keypoints: dict[str, tuple[int, int, int]]
    outline: tuple[tuple[int, int], ...]


_ASTRONAUT = _Labels(
    "skimage",
    "data/astronaut.png",
    {
        "nose": (224, 124, 2), "left_eye": (246, 103, 2), "right_eye": (203, 101, 2),
        "left_ear": (272, 128, 2), "right_ear": (176, 123, 2),
        "left_shoulder": (322, 274, 2), "right_shoulder": (82, 264, 2),
        "right_elbow": (52, 462, 2), "right_wrist": (138, 502, 2),  # her left arm is behind the helmet
    },
    (
        (230, 15), (255, 21), (285, 40), (298, 68), (301, 90), (294, 112), (279, 128), (273, 137), (266, 137),
        (262, 150), (256, 166), (256, 176), (275, 190), (295, 214), (304, 235), (325, 245), (342, 262), (350, 290),
        (357, 322), (361, 346), (340, 352), (318, 365), (300, 390), (286, 420), (279, 450), (277, 490), (279, 512),
        (26, 512), (31, 500), (24, 465), (25, 430), (21, 410), (25, 355), (40, 298), (52, 268), (75, 235), (108, 208),
        (114, 190), (125, 168), (150, 152), (183, 148), (183, 134), (176, 130), (170, 119), (160, 110), (154, 95),
        (153, 68), (168, 48), (190, 34), (205, 23),
    ),
)  # fmt: skip

_CAMERAMAN = _Labels(
    "skimage",
    "data/camera.png",
    {
        "nose": (252, 166, 2), "right_eye": (235, 147, 2), "right_ear": (188, 141, 2),
        "left_shoulder": (190, 212, 1), "right_shoulder": (86, 186, 2),
        "left_elbow": (242, 296, 2), "right_elbow": (84, 292, 2),
        "left_wrist": (284, 242, 2), "right_wrist": (184, 232, 2),
        "left_hip": (98, 378, 2), "right_hip": (32, 384, 2),
    },
    (
        (200, 64), (225, 68), (250, 84), (266, 104), (269, 122), (262, 133), (255, 138), (252, 150), (254, 166),
        (246, 171), (243, 182), (238, 196), (242, 206), (242, 222), (248, 246), (262, 228), (262, 214), (282, 202),
        (294, 192), (306, 182), (318, 168), (330, 176), (331, 192), (322, 212), (304, 226), (299, 246), (304, 274),
        (284, 291), (245, 312), (205, 294), (170, 342), (141, 380), (148, 430), (151, 512), (139, 512), (120, 475),
        (98, 446), (90, 512), (0, 512), (0, 252), (20, 222), (48, 172), (66, 148), (84, 138), (115, 124), (131, 124),
        (150, 106), (162, 106), (170, 90), (185, 74),
    ),
)  # fmt: skip

_GRACE_HOPPER = _Labels(
    "matplotlib",
    "mpl-data/sample_data/grace_hopper.jpg",
    {
        "nose": (265, 236, 2), "left_eye": (305, 187, 2), "right_eye": (222, 189, 2),
        "left_ear": (363, 218, 2), "right_ear": (164, 222, 2),
        "left_shoulder": (458, 420, 2), "right_shoulder": (72, 416, 2),
    },
    (
        (230, 28), (262, 23), (290, 29), (305, 42), (330, 55), (350, 85), (363, 86), (369, 120), (370, 150),
        (366, 180), (375, 192), (372, 215), (362, 255), (350, 290), (334, 306), (345, 324), (362, 338), (400, 352),
        (440, 370), (475, 385), (492, 396), (500, 420), (512, 446), (512, 600), (10, 600), (20, 530), (27, 470),
        (28, 435), (38, 408), (50, 388), (64, 378), (80, 370), (150, 352), (188, 330), (200, 314), (197, 296),
        (166, 282), (160, 262), (164, 250), (154, 222), (153, 200), (160, 165), (150, 140), (150, 122), (160, 98),
        (176, 84), (184, 65), (215, 44),
    ),
)  # fmt: skip

_NOBODY = ("data/coffee.png", "data/rocket.jpg", "data/chelsea.png", "data/grass.png", "data/brick.png")


def portraits() -> tuple[Scene, ...]:
    """The photographs with a person: an astronaut, a man with a camera, a rear admiral.

    Raises:
        PhotographError: a package that ships one is not installed.
    """
    return tuple(_labelled(labels) for labels in (_ASTRONAUT, _CAMERAMAN, _GRACE_HOPPER))


def backgrounds() -> tuple[Image, ...]:
    """Photographs without people: a cup of coffee, a rocket, a cat, grass, bricks.

    Raises:
        PhotographError: scikit-image is not installed.
    """
    return tuple(_packaged("skimage", path) for path in _NOBODY)


def _labelled(labels: _Labels) -> Scene:
    keypoints = np.array([labels.keypoints.get(name, (0, 0, 0)) for name in COCO_17_KEYPOINTS], float)
    person = Person(keypoints, np.array(labels.outline, float))
    return Scene(_packaged(labels.package, labels.path), (person,))


@cache
def _packaged(package: str, path: str) -> Image:
    try:
        with as_file(files(package).joinpath(path)) as file:
            image = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
    except ModuleNotFoundError:
        image = None
    if image is None:
        raise PhotographError(f"no {path} in {_PACKAGES[package]}; install yaop[train]")
    image.flags.writeable = False
    return image.astype(np.uint8, copy=False)
