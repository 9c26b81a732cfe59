"""What training makes small: the loss of a batch, on any Keras backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras import ops

from shared.skeleton import Skeleton
from trainer.data.targets import TargetOptions, render_targets
from trainer.losses import LossOptions, fields_loss

Tensor = Any


@dataclass(frozen=True)
class Objective:
    """The loss of a network's fields.

    Attributes:
        skeleton: K keypoints, L limbs.
        stride: input pixels per cell of the fields.
        targets, losses: see there.
    """

    skeleton: Skeleton
    stride: int
    targets: TargetOptions
    losses: LossOptions

    def render(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The fields that a perfect network gives for a batch (see `trainer.data.pipeline.Batch`).

        Returns:
            heatmaps float32 ``[B, h, w, K]`` and pafs float32 ``[B, h, w, 2L]``.
        """
        height, width = batch["mask"].shape[1:3]
        return render_targets(
            batch["keypoints"], batch["sizes"], (height, width), self.stride, self.skeleton, self.targets
        )

    def losses_of(
        self, outputs: Mapping[str, Tensor], rendered: tuple[Tensor, Tensor], batch: Mapping[str, Tensor], share: float
    ) -> tuple[Tensor, Tensor]:
        """Heatmap and PAF loss of all stages of a network, float32 scalars.

        Args:
            outputs: a network's ``heatmaps`` and ``pafs``, and ``heatmaps_0``, ``pafs_0`` ... of earlier stages.
            rendered: what `render` returned for this batch.
            batch: its mask and the weights of keypoints and limbs are used.
            share: part of the global batch that this batch is: the losses of all parts add up to the global mean.
        """
        stages = {part: [v for k, v in sorted(outputs.items()) if k.startswith(part)] for part in ("heatmaps", "pafs")}
        heatmap, paf = fields_loss(
            rendered, stages["heatmaps"], stages["pafs"], ops.cast(batch["mask"], "float32"),
            batch["keypoint_weights"], batch["limb_weights"], self.losses,
        )  # fmt: skip
        return heatmap * share, paf * share


def network_input(batch: Mapping[str, Tensor]) -> Tensor:
    """A batch's pictures as networks take them: float32 ``[B, S, S, 3]`` in 0..255."""
    return ops.cast(batch["images"], "float32")
