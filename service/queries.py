"""The query parameters of the pose routes, and what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from service.models import LoadedModel, ModelRepository
from service.parsing import MOST_PEOPLE, RESOLUTION_VALUES, RESOLUTIONS, Resolution, only_known, parse_roi
from service.problems import invalid_parameter
from shared.geometry import Box
from shared.inference.estimator import DEFAULT_MAX_PEOPLE, DEFAULT_MIN_SCORE, PoseOptions
from shared.schema import LayoutError, require_body_18

Roi = Annotated[
    Box | None,
    PlainValidator(parse_roi),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+,-?\d+,\d+,\d+$", "examples": ["100,50,320,240"]}),
]
Format = Literal["native", "openpose", "coco"]


class EstimateQuery(BaseModel):
    """What can be asked of every pose route."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[Format, BeforeValidator(lambda value: str(value).lower())] = Field(
        "native", description="Layout of the result: ours, OpenPose's (`--model_pose COCO`), or COCO's results."
    )
    resolution: Resolution = Field(
        RESOLUTIONS["balanced"],
        description=f"Long side of the network's input: {RESOLUTION_VALUES}. Larger finds smaller people, slower.",
    )
    min_score: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description=f"People with a lower score are left out. Default: {DEFAULT_MIN_SCORE}, and 0 for `coco`.",
    )
    max_people: int = Field(DEFAULT_MAX_PEOPLE, ge=1, le=MOST_PEOPLE, description="Most people given, best first.")
    flip: bool = Field(False, description="Look at the mirror image too: slower and a little more accurate.")
    roi: Roi = Field(None, description="Look only at this part: `x,y,width,height` in pixels of the upright picture.")
    model: str | None = Field(None, description="Name of a loaded model (see `GET /models`). Default: the first.")
    image_id: int = Field(0, ge=0, description="`image_id` of the results, for `format=coco`.")

    @model_validator(mode="before")
    @classmethod
    def _name_valid_parameters(cls, values: Any) -> Any:
        return only_known(cls.model_fields, values)

    def options(self) -> PoseOptions:
        """What the estimator is asked for."""
        default_score = 0.0 if self.format == "coco" else DEFAULT_MIN_SCORE
        return PoseOptions(
            long_side=self.resolution,
            min_score=default_score if self.min_score is None else self.min_score,
            max_people=self.max_people,
            flip=self.flip,
            roi=self.roi,
        )

    def select_model(self, models: ModelRepository) -> LoadedModel:
        """The model that was asked for.

        Raises:
            Problem: 422 that lists the loaded ones, or that its skeleton cannot be given in the format asked for.
        """
        model = models.get(self.model)
        if model is None:
            raise invalid_parameter("model", f"must be one of {', '.join(models.names)}")
        if self.format != "native":
            try:
                require_body_18(model.skeleton)
            except LayoutError as error:
                raise invalid_parameter("format", str(error)) from None
        return model


class PoseQuery(EstimateQuery):
    """What can be asked of `POST /pose`."""

    draw: bool | None = Field(
        None, description="Answer with the picture and its skeletons. Default: what `Accept` prefers."
    )
    fields: bool = Field(False, description="Answer with the network's heatmaps and PAFs as an `.npz` file.")

    @model_validator(mode="after")
    def _one_kind_of_answer(self) -> PoseQuery:
        if self.draw and self.fields:
            raise ValueError("draw and fields exclude each other; ask for one of them")
        return self
