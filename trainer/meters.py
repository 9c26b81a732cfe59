"""What is measured from step to step until it becomes an event: losses, and images per second."""

from __future__ import annotations

import math
import time
from typing import Any

from shared.errors import YaopError


class TrainingError(YaopError):
    """Training cannot go on; the message says at which step, why, and what is kept."""


class Losses:
    """Losses of the steps since the last event.

    They stay on the accelerator until they are read, so that it need not wait for the host at every step.

    Args:
        pending: losses that a checkpoint knows and the history does not.
    """

    def __init__(self, pending: tuple[tuple[float, float], ...] = ()) -> None:
        self._known = list(pending)
        self._coming: list[tuple[Any, Any]] = []

    def add(self, losses: tuple[Any, Any]) -> None:
        """Take a step's heatmap and PAF loss."""
        self._coming.append(losses)

    def read(self, step: int) -> tuple[tuple[float, float], ...]:
        """Heatmap and PAF loss of each step since the last event, of which `step` (counted from 1) is the latest.

        Raises:
            TrainingError: one of them is not a finite number.
        """
        self._known += [(float(heatmap), float(paf)) for heatmap, paf in self._coming]
        self._coming = []
        first = step - len(self._known) + 1
        for number, (heatmap, paf) in enumerate(self._known, start=first):
            if not math.isfinite(heatmap + paf):
                raise TrainingError(f"step {number}: the loss is {heatmap + paf} (heatmap {heatmap}, PAF {paf})")
        return tuple(self._known)

    def take(self, step: int) -> dict[str, float]:
        """Mean ``loss``, ``heatmap`` and ``paf`` since the last event; begins anew.

        Raises:
            TrainingError: a loss is not a finite number.
        """
        known = self.read(step)
        heatmap, paf = (math.fsum(part) / len(known) for part in zip(*known, strict=True))
        self._known = []
        return {"loss": heatmap + paf, "heatmap": heatmap, "paf": paf}


class Pace:
    """Images per second of the training steps alone.

    Args:
        batch: images in a global batch.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.restart()

    def restart(self) -> None:
        """Begin to measure, after something that was no training step."""
        self._begun, self._steps = time.monotonic(), 0

    def step(self) -> None:
        """Count a step."""
        self._steps += 1

    @property
    def images_per_second(self) -> float:
        """Since the last restart; 0 if no step was counted."""
        return self._steps * self._batch / max(1e-9, time.monotonic() - self._begun)
