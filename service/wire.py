"""What goes over the wire besides `shared.schema`: the part that clients import, so nothing here needs the server."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.topology import Topology
from shared.bundle import Manifest

PosesFormat = Literal["native", "csv", "openpose", "coco"]
"""How the people of a video's frames can be laid out."""


class ProblemDetails(BaseModel):
    """RFC 9457 problem details. Some problems carry more members, e.g. `errors` or `accepted`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="What kind of problem this is; stable, for programs.")
    title: str = Field(description="The same for people; does not vary between occurrences.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong this time, and what would be right.")
    request_id: str | None = Field(None, description="Quote this when asking for help; it is in the logs.")


class ModelSummary(BaseModel):
    """A loaded model."""

    name: str = Field(examples=["mobilenet_fpn"])
    version: str = Field(examples=["1.0.0"])
    default: bool = Field(description="Whether it answers when no `model` is given.")
    engine: str = Field(description="What runs it.", examples=["litert"])


class ModelList(BaseModel):
    """All loaded models."""

    models: list[ModelSummary]


class ModelDetails(Manifest):
    """The manifest of a loaded model's bundle, and how it is run here."""

    default: bool
    engine: str
    topology: Topology
