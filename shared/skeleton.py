"""Skeletons as data: keypoints, limbs, flips, OKS sigmas and colours in one frozen object.

Targets, network heads, decoder, drawing and schemas all read a `Skeleton`; a new skeleton is a new
constant here, not new code elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]


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
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flips: tuple[int, ...]
    sigmas: tuple[float, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        for field, values in (("flips", self.flips), ("sigmas", self.sigmas), ("colors", self.colors)):
            if len(values) != count:
                raise ValueError(f"skeleton {self.name}: {field} has {len(values)} entries, expected {count}")
        if any(not 0 <= index < count for limb in self.limbs for index in limb):
            raise ValueError(f"skeleton {self.name}: a limb names a keypoint that does not exist")
        if any(self.flips[self.flips[i]] != i for i in range(count)):
            raise ValueError(f"skeleton {self.name}: flips is not its own inverse")
        for first, second in self.limbs:
            self._mirror_limb(first, second)

    def _mirror_limb(self, first: int, second: int) -> tuple[int, bool]:
        """Index of the mirrored limb and whether its direction is reversed."""
        mirrored = (self.flips[first], self.flips[second])
        if mirrored in self.limbs:
            return self.limbs.index(mirrored), False
        if mirrored[::-1] in self.limbs:
            return self.limbs.index(mirrored[::-1]), True
        raise ValueError(f"skeleton {self.name}: limb {(first, second)} has no mirror image")

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

    def index(self, keypoint: str) -> int:
        """Channel of the keypoint with this name."""
        return self.keypoints.index(keypoint)


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
    return tuple(keypoints.index(_mirror_name(name)) for name in keypoints)


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
    )


BODY_18 = _body_18()
"""The body model of OpenPose's COCO output: COCO's 17 keypoints plus the neck, 19 limbs."""

SKELETONS = {BODY_18.name: BODY_18}

_TO_COCO = tuple(BODY_18.index(name) for name in COCO_17_KEYPOINTS)
_FROM_COCO = tuple(COCO_17_KEYPOINTS.index(name) if name != "neck" else -1 for name in BODY_18.keypoints)
_SHOULDERS = (COCO_17_KEYPOINTS.index("left_shoulder"), COCO_17_KEYPOINTS.index("right_shoulder"))


def get_skeleton(name: str) -> Skeleton:
    """The skeleton of this name.

    Raises:
        ValueError: no such skeleton; the message lists the known ones.
    """
    if name not in SKELETONS:
        raise ValueError(f"unknown skeleton {name!r}; known: {', '.join(sorted(SKELETONS))}")
    return SKELETONS[name]


def body18_to_coco17(keypoints: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reorder ``[..., 18, C]`` BODY_18 keypoints to ``[..., 17, C]`` COCO order; the neck is dropped."""
    return keypoints[..., _TO_COCO, :]


def coco17_to_body18(keypoints: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reorder ``[..., 17, 3]`` COCO keypoints (x, y, visibility or score) to ``[..., 18, 3]`` BODY_18.

    The neck is the midpoint of the shoulders where both are present (third value above 0); its third
    value is the smaller of theirs. Otherwise the neck is all zeros.
    """
    result = keypoints[..., [i if i >= 0 else 0 for i in _FROM_COCO], :].copy()
    left, right = (keypoints[..., i, :] for i in _SHOULDERS)
    neck = np.concatenate([(left[..., :2] + right[..., :2]) / 2, np.minimum(left, right)[..., 2:]], axis=-1)
    present = np.minimum(left[..., 2:], right[..., 2:]) > 0
    result[..., BODY_18.index("neck"), :] = np.where(present, neck, 0)
    return result
