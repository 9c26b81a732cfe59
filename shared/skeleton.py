"""Skeletons as data: keypoints, limbs, flips, OKS sigmas and colours in one frozen object.

Targets, network heads, decoder, drawing and schemas all read a `Skeleton`. A skeleton of one's own is a JSON file
(`load_skeleton`), not code.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import YaopError

Color = tuple[int, int, int]

DEFAULT_SIGMA = 0.08
"""OKS fall-off of a keypoint whose definition gives none: about that of COCO's shoulders."""


class SkeletonError(YaopError, ValueError):
    """A skeleton that is not known, cannot be read or contradicts itself; the message says what would be right."""


@dataclass(frozen=True)
class Skeleton:
    """A set of keypoints and the limbs that join them.

    Attributes:
        name: identifier written into bundles, e.g. ``body_18``.
        keypoints: names in channel order of the heatmaps.
        limbs: pairs of keypoint indices; limb ``k`` owns PAF channels ``2k`` (x) and ``2k + 1`` (y),
            and its field points from the first keypoint to the second.
        flips: for each keypoint, the index of its mirror image (itself on the midline).
        sigmas: OKS fall-off of each keypoint, as in the COCO keypoint evaluation.
        colors: RGB colour of each keypoint; a limb takes the colour of its second keypoint.
        derived: keypoints that nobody labels, as (name, end, end): each is the midpoint of two that are labelled.
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flips: tuple[int, ...]
    sigmas: tuple[float, ...]
    colors: tuple[Color, ...]
    derived: tuple[tuple[str, str, str], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if len(set(self.keypoints)) != count:
            raise SkeletonError(f"skeleton {self.name}: a keypoint is named twice")
        for field, values in (("flips", self.flips), ("sigmas", self.sigmas), ("colors", self.colors)):
            if len(values) != count:
                raise SkeletonError(f"skeleton {self.name}: {field} has {len(values)} entries, expected {count}")
        if any(not 0 <= index < count for limb in self.limbs for index in limb):
            raise SkeletonError(f"skeleton {self.name}: a limb names a keypoint that does not exist")
        if any(self.flips[self.flips[i]] != i for i in range(count)):
            raise SkeletonError(f"skeleton {self.name}: flips is not its own inverse")
        for first, second in self.limbs:
            self._mirror_limb(first, second)
        self._check_derived()

    def _check_derived(self) -> None:
        names = [name for name, *_ in self.derived]
        if len(set(names)) != len(names):
            raise SkeletonError(f"skeleton {self.name}: a derived keypoint is named twice")
        for name, *ends in self.derived:
            if name not in self.keypoints or any(end not in self.keypoints or end in names for end in ends):
                wanted = "it must be a keypoint, and its ends two that are not derived"
                raise SkeletonError(f"skeleton {self.name}: derived {name}: {wanted}")

    def _mirror_limb(self, first: int, second: int) -> tuple[int, bool]:
        """Index of the mirrored limb and whether its direction is reversed."""
        mirrored = (self.flips[first], self.flips[second])
        if mirrored in self.limbs:
            return self.limbs.index(mirrored), False
        if mirrored[::-1] in self.limbs:
            return self.limbs.index(mirrored[::-1]), True
        raise SkeletonError(f"skeleton {self.name}: limb {(first, second)} has no mirror image")

    @property
    def num_keypoints(self) -> int:
        """Number of keypoints, which is the number of heatmap channels."""
        return len(self.keypoints)

    @property
    def num_limbs(self) -> int:
        """Number of limbs, which is half the number of PAF channels."""
        return len(self.limbs)

    @cached_property
    def limb_flips(self) -> tuple[int, ...]:
        """For each limb, the index of its mirror image."""
        return tuple(self._mirror_limb(*limb)[0] for limb in self.limbs)

    @cached_property
    def paf_flips(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Channel order and signs that turn the PAFs of a mirrored picture into those of the picture.

        After the field itself is mirrored left-right, take ``pafs[..., order] * signs``.
        """
        order: list[int] = []
        signs: list[float] = []
        for limb in self.limbs:
            mirror, reverse = self._mirror_limb(*limb)
            sign = -1.0 if reverse else 1.0
            order += [2 * mirror, 2 * mirror + 1]
            signs += [-sign, sign]
        return tuple(order), tuple(signs)

    @cached_property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the keypoints that are not derived from others."""
        names = {name for name, *_ in self.derived}
        return tuple(i for i, name in enumerate(self.keypoints) if name not in names)

    def index(self, keypoint: str) -> int:
        """Channel of the keypoint with this name."""
        return self.keypoints.index(keypoint)

    def to_json(self) -> dict[str, Any]:
        """The definition as plain JSON values; limbs and flips by name."""
        names = self.keypoints
        return {
            "name": self.name,
            "keypoints": list(names),
            "limbs": [[names[first], names[second]] for first, second in self.limbs],
            "flips": [names[i] for i in self.flips],
            "sigmas": list(self.sigmas),
            "colors": [list(color) for color in self.colors],
            "derived": [list(triple) for triple in self.derived],
        }

    @staticmethod
    def from_json(values: Any) -> Skeleton:
        """The skeleton of a definition as `to_json` gives it.

        Only ``name``, ``keypoints`` and ``limbs`` must be there. Without ``flips`` left_* and right_* change places,
        without ``sigmas`` all are `DEFAULT_SIGMA`, without ``colors`` they go once around the colour wheel.

        Raises:
            SkeletonError: (a ValueError) a field is missing, unknown or wrong, the limbs don't join all keypoints, or
                the name is that of another, built-in skeleton.
        """
        try:
            skeleton = _Definition.model_validate(values).skeleton()
        except ValidationError as error:
            raise SkeletonError("; ".join(_describe(problem) for problem in error.errors())) from error
        if SKELETONS.get(skeleton.name, skeleton) != skeleton:
            raise SkeletonError(f"skeleton {skeleton.name}: this is the name of a built-in one; choose another")
        return skeleton


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_Byte = Annotated[int, Field(ge=0, le=255)]


class _Definition(BaseModel):
    """A skeleton as it is written in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    keypoints: tuple[_Name, ...] = Field(min_length=2, max_length=256)
    limbs: tuple[tuple[str, str], ...] = Field(min_length=1)
    flips: tuple[str, ...] | None = None
    sigmas: tuple[Annotated[float, Field(gt=0, le=10)], ...] | None = None
    colors: tuple[tuple[_Byte, _Byte, _Byte], ...] | None = None
    derived: tuple[tuple[str, str, str], ...] = ()

    def skeleton(self) -> Skeleton:
        count = len(self.keypoints)
        skeleton = Skeleton(
            name=self.name,
            keypoints=self.keypoints,
            limbs=tuple((self._index(first), self._index(second)) for first, second in self.limbs),
            flips=_flips(self.keypoints) if self.flips is None else tuple(self._index(name) for name in self.flips),
            sigmas=(DEFAULT_SIGMA,) * count if self.sigmas is None else self.sigmas,
            colors=_color_wheel(count) if self.colors is None else self.colors,
            derived=self.derived,
        )
        self._check_limbs(skeleton.limbs)
        return skeleton

    def _index(self, name: str) -> int:
        if name not in self.keypoints:
            raise SkeletonError(f"skeleton {self.name}: no keypoint {name!r}; there are: {', '.join(self.keypoints)}")
        return self.keypoints.index(name)

    def _check_limbs(self, limbs: tuple[tuple[int, int], ...]) -> None:
        """People are put together along limbs, so these must reach every keypoint from the first."""
        if len({frozenset(limb) for limb in limbs}) != len(limbs) or any(first == second for first, second in limbs):
            raise SkeletonError(f"skeleton {self.name}: a limb is there twice, or joins a keypoint to itself")
        reached = {0}
        for _ in limbs:
            reached |= {end for limb in limbs if reached & set(limb) for end in limb}
        apart = [name for i, name in enumerate(self.keypoints) if i not in reached]
        if apart:
            raise SkeletonError(f"skeleton {self.name}: no limbs lead from {self.keypoints[0]} to {', '.join(apart)}")


def _describe(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    return f"skeleton: {where}: {problem['msg']}" if where else f"skeleton: {problem['msg']}"


def _color_wheel(count: int) -> tuple[Color, ...]:
    colors: list[Color] = []
    for i in range(count):
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(i / count, 0.75, 1.0))
        colors.append((red, green, blue))
    return tuple(colors)


COCO_17_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

COCO_17_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip

_BODY_18_KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip

_BODY_18_LIMBS = (
    ("neck", "right_shoulder"), ("neck", "left_shoulder"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("neck", "nose"), ("nose", "right_eye"), ("right_eye", "right_ear"),
    ("nose", "left_eye"), ("left_eye", "left_ear"),
    ("right_shoulder", "right_ear"), ("left_shoulder", "left_ear"),
)  # fmt: skip

# Warm colours on the person's right, cool ones on the left, so that a swap of sides is seen at a glance.
_BODY_18_COLORS = (
    (245, 245, 245), (235, 200, 60),
    (255, 145, 30), (255, 105, 50), (255, 60, 70),
    (60, 200, 255), (50, 150, 255), (80, 100, 255),
    (255, 190, 0), (230, 120, 160), (215, 60, 190),
    (0, 225, 190), (40, 210, 120), (120, 220, 60),
    (255, 170, 120), (130, 190, 255), (255, 210, 160), (170, 220, 255),
)  # fmt: skip


def _mirror_name(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


def _flips(keypoints: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(
        keypoints.index(_mirror_name(name)) if _mirror_name(name) in keypoints else i
        for i, name in enumerate(keypoints)
    )


def _body_18() -> Skeleton:
    sigma = dict(zip(COCO_17_KEYPOINTS, COCO_17_SIGMAS, strict=True)) | {"neck": 0.079}
    index = {name: i for i, name in enumerate(_BODY_18_KEYPOINTS)}
    return Skeleton(
        name="body_18",
        keypoints=_BODY_18_KEYPOINTS,
        limbs=tuple((index[a], index[b]) for a, b in _BODY_18_LIMBS),
        flips=_flips(_BODY_18_KEYPOINTS),
        sigmas=tuple(sigma[name] for name in _BODY_18_KEYPOINTS),
        colors=_BODY_18_COLORS,
        derived=(("neck", "left_shoulder", "right_shoulder"),),
    )


BODY_18 = _body_18()
"""The body model of OpenPose's COCO output: COCO's 17 keypoints plus the neck, 19 limbs."""

SKELETONS = {BODY_18.name: BODY_18}

_TO_COCO = tuple(BODY_18.index(name) for name in COCO_17_KEYPOINTS)


def get_skeleton(name: str) -> Skeleton:
    """The built-in skeleton of this name.

    Raises:
        SkeletonError: (a ValueError) no such skeleton; the message lists the known ones.
    """
    if name not in SKELETONS:
        raise SkeletonError(f"unknown skeleton {name!r}; known: {', '.join(sorted(SKELETONS))}, or a .json file")
    return SKELETONS[name]


def load_skeleton(name_or_path: str) -> Skeleton:
    """The built-in skeleton of this name, or the one that a ``.json`` file defines (see `Skeleton.from_json`).

    Raises:
        SkeletonError: (a ValueError) it is not known, or the file cannot be read or used.
    """
    if not name_or_path.endswith(".json"):
        return get_skeleton(name_or_path)
    try:
        return Skeleton.from_json(json.loads(Path(name_or_path).read_text("utf-8")))
    except OSError as error:
        raise SkeletonError(f"{name_or_path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SkeletonError(f"{name_or_path}: {error}") from error


def fill_derived(keypoints: NDArray[np.floating], skeleton: Skeleton) -> NDArray[np.floating]:
    """A copy of ``[..., K, 3]`` (x, y, visibility or score) in which derived keypoints are midpoints of their ends.

    A midpoint's third value is the smaller of its ends'; it is all zeros unless both ends are present (third value
    above 0). A derived keypoint that is present already stays as it is.
    """
    result = keypoints.copy()
    for name, *ends in skeleton.derived:
        first, second = (keypoints[..., skeleton.index(end), :] for end in ends)
        third = np.minimum(first, second)[..., 2:]
        middle = np.concatenate([(first[..., :2] + second[..., :2]) / 2, third], axis=-1)
        own = result[..., skeleton.index(name), :]
        result[..., skeleton.index(name), :] = np.where(own[..., 2:] > 0, own, np.where(third > 0, middle, 0))
    return result


def from_names(keypoints: NDArray[np.floating], names: Sequence[str], skeleton: Skeleton) -> NDArray[np.floating]:
    """Keypoints ``[..., J, 3]`` that are called `names`, as ``[..., K, 3]`` of the skeleton.

    Names the skeleton does not have are dropped; what has no name among them is all zeros, or derived.

    Raises:
        SkeletonError: (a ValueError) there are not J names, or one is there twice.
    """
    if keypoints.shape[-2] != len(names):
        raise SkeletonError(f"{keypoints.shape[-2]} keypoints with {len(names)} names")
    if len(set(names)) != len(names):
        raise SkeletonError("a keypoint is named twice")
    result = np.zeros((*keypoints.shape[:-2], skeleton.num_keypoints, 3), keypoints.dtype)
    for i, name in enumerate(names):
        if name in skeleton.keypoints:
            result[..., skeleton.index(name), :] = keypoints[..., i, :]
    return fill_derived(result, skeleton)


def body18_to_coco17(keypoints: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reorder ``[..., 18, C]`` BODY_18 keypoints to ``[..., 17, C]`` COCO order; the neck is dropped."""
    return keypoints[..., _TO_COCO, :]


def coco17_to_body18(keypoints: NDArray[np.floating]) -> NDArray[np.floating]:
    """`from_names` for ``[..., 17, 3]`` keypoints in COCO order: ``[..., 18, 3]`` in that of BODY_18, with the neck."""
    return from_names(keypoints, COCO_17_KEYPOINTS, BODY_18)
