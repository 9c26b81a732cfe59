"""A skeleton as it goes over the wire: how clients name, join and colour keypoints."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.assembly import redundant_limbs
from shared.skeleton import Skeleton


class Topology(BaseModel):
    """How to name, join and colour keypoints."""

    keypoints: tuple[str, ...] = Field(description="In the order of the heatmaps.")
    limbs: tuple[tuple[int, int], ...] = Field(description="Pairs of keypoint indices, in the order of the PAFs.")
    bones: tuple[tuple[int, int], ...] = Field(description="The limbs to draw.")
    colors: tuple[tuple[int, int, int], ...] = Field(
        description="RGB of each keypoint; a limb takes the colour of its second one."
    )

    @classmethod
    def of(cls, skeleton: Skeleton) -> Topology:
        """The topology of a skeleton."""
        redundant = redundant_limbs(skeleton)
        return cls(
            keypoints=skeleton.keypoints,
            limbs=skeleton.limbs,
            bones=tuple(limb for index, limb in enumerate(skeleton.limbs) if index not in redundant),
            colors=skeleton.colors,
        )
