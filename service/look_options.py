"""What can be asked of every look at a picture, be it of a video or of a stream: the base of their options.

Clients import this, so nothing here needs the server.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.parsing import MOST_PEOPLE, RESOLUTIONS, Resolution, only_known
from shared.inference.estimator import DEFAULT_MAX_PEOPLE, DEFAULT_MIN_SCORE, PoseOptions


class LookOptions(BaseModel):
    """How pictures are looked at. A name that is no option is an error that lists those there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolution: Resolution = Field(
        default=RESOLUTIONS["balanced"],
        description="Long side of the network's input. Larger finds smaller people, slower.",
    )
    min_score: float = Field(
        default=DEFAULT_MIN_SCORE, ge=0, le=1, description="People with a lower score are left out."
    )
    max_people: int = Field(default=DEFAULT_MAX_PEOPLE, ge=1, le=MOST_PEOPLE, description="Most people in a picture.")

    @model_validator(mode="before")
    @classmethod
    def _name_valid_options(cls, values: Any) -> Any:
        return only_known(cls.model_fields, values) if isinstance(values, dict) else values

    def pose_options(self) -> PoseOptions:
        """What the estimator is asked for."""
        return PoseOptions(long_side=self.resolution, min_score=self.min_score, max_people=self.max_people)
