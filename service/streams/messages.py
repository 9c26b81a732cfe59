"""What a stream's two sides say to each other, besides pictures. The protocol is told in docs/stream-protocol.md.

Clients import this, so nothing here needs the server.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from service.look_options import LookOptions
from service.topology import Topology
from service.wire import ProblemDetails
from shared.schema import Frame, ModelRef

PROTOCOL = "yaop.stream.v1"
"""The WebSocket subprotocol: the version of everything here."""

PATH = "/stream"
MOST_CREDITS = 16
DEFAULT_CREDITS = 2  # one picture is worked on while the next is on its way

Encoding = Literal["json", "msgpack"]


class StreamOptions(LookOptions):
    """How the pictures of a stream are looked at. All of it can change while the stream goes on."""

    track: bool = Field(default=True, description="Give people ids that stay the same over the stream.")
    smooth: bool = Field(default=True, description="Smooth keypoints over time (one-euro filter).")
    draw: bool = Field(default=False, description="Send each picture back with its skeletons drawn in, as JPEG.")


class Hello(StreamOptions):
    """The client's first message."""

    type: Literal["hello"] = "hello"
    key: str | None = Field(default=None, max_length=1000, description="Reserved for the API key; not asked for yet.")
    model: str | None = Field(default=None, max_length=200, description="Name of a loaded model. Default: the first.")
    credits: int = Field(
        default=DEFAULT_CREDITS,
        ge=1,
        le=MOST_CREDITS,
        description="Most pictures the client has under way: sent, and not acknowledged yet.",
    )
    encoding: Encoding = Field(default="json", description="Of the service's messages.")

    def options(self) -> StreamOptions:
        """The part that can change later."""
        return StreamOptions(**{name: getattr(self, name) for name in StreamOptions.model_fields})


class StreamLimits(BaseModel):
    """What a stream may not exceed."""

    frame_bytes: int = Field(description="Most bytes of an encoded picture.")
    frame_pixels: int = Field(description="Most pixels (width x height) of a picture.")
    fps: float = Field(description="Most pictures looked at in a second; more are skipped.")
    idle_seconds: float = Field(description="After so long without a message from the client the stream ends.")


class Welcome(BaseModel):
    """The service's answer to a hello."""

    type: Literal["welcome"] = "welcome"
    protocol: str = PROTOCOL
    id: str | None = Field(description="Quote this when asking for help; it is in the logs.")
    model: ModelRef
    topology: Topology
    options: StreamOptions
    credits: int
    limits: StreamLimits


class OptionsChanged(BaseModel):
    """All results after this one are made with these options."""

    type: Literal["options"] = "options"
    options: StreamOptions


class Acknowledgement(BaseModel):
    """What happened to pictures since the last one of these; each gives its credits back."""

    skipped: list[int] = Field(
        default_factory=list[int],
        description="Pictures passed over because newer ones had arrived, by sequence number.",
    )
    dropped: int = Field(default=0, description="How many were passed over since the stream began.")


class StreamResult(Acknowledgement, Frame):
    """The people of a picture: a `Frame` whose index is the picture's sequence number, and whose timestamp its own."""

    type: Literal["result"] = "result"
    picture: bytes | None = Field(
        default=None,
        description="With `draw`: the JPEG. In msgpack it is here; in JSON it is the binary message that follows.",
    )


class StreamError(Acknowledgement):
    """Something that was wrong; what follows `fatal` is the end of the stream."""

    type: Literal["error"] = "error"
    index: int | None = Field(default=None, description="The picture that it is about, which is thereby acknowledged.")
    fatal: bool = False
    problem: ProblemDetails


ServerMessage = Annotated[Welcome | OptionsChanged | StreamResult | StreamError, Field(discriminator="type")]
SERVER_MESSAGE: TypeAdapter[Welcome | OptionsChanged | StreamResult | StreamError] = TypeAdapter(ServerMessage)
"""Reads what the service sends."""
