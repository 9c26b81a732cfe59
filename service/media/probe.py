"""What video a file is, found out in a child process: nothing in its headers is taken on trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field

from service.media.child import ask, module_command
from service.media.limits import DEFAULT_LIMITS, VideoLimits
from service.media.video_errors import VideoError


class VideoInfo(BaseModel):
    """A video that can be read.

    Sizes are of the upright picture.
    """

    model_config = ConfigDict(frozen=True)

    container: Literal["mp4", "avi", "matroska"]
    codec: str = Field(description="FFmpeg's name of the codec, e.g. h264.")
    pixel_format: str = Field(description="FFmpeg's name of the stored pixel format, e.g. yuv420p.")
    stored_width: int = Field(gt=0, description="Width before rotation.")
    stored_height: int = Field(gt=0, description="Height before rotation.")
    matrix: Literal["bt601", "bt709"] = Field(description="How RGB becomes of the frames as they are handed on.")
    frames: int = Field(gt=0, description="Counted, not taken from the header.")
    seconds: float = Field(gt=0, description="From the first frame to the end of the last.")
    fps: float = Field(gt=0, description="Average frame rate.")
    variable: bool = Field(description="Whether frames last differently long.")
    rotation: Literal[0, 90, 180, 270] = Field(description="Clockwise degrees that pictures are turned by.")
    mirrored: bool = Field(description="Whether pictures are flipped left to right before they are turned.")
    sample_aspect: tuple[int, int] = Field(description="Width and height of an upright picture's pixel.")
    audio: str | None = Field(description="Codec of the first audio stream.")
    seekable: bool = Field(description="Whether a reading may begin in the middle without decoding what precedes.")
    ends_early: bool = Field(description="Whether less is there than the headers promise.")
    warnings: list[str] = Field(description="What is odd about the file.")
    time_base: tuple[int, int] = Field(description="Seconds of a tick, as a fraction.")
    first_pts: int = Field(description="Time stamp of the first frame, in ticks.")
    step: int = Field(gt=0, description="Ticks between frames, on average.")
    by_order: bool = Field(description="Whether time stamps go by the order of packets; see `timing.Timing`.")

    @computed_field
    @property
    def width(self) -> int:
        """Width of the upright picture in pixels."""
        return self.stored_height if self.rotation % 180 else self.stored_width

    @computed_field
    @property
    def height(self) -> int:
        """Height of the upright picture in pixels."""
        return self.stored_width if self.rotation % 180 else self.stored_height

    @property
    def start_seconds(self) -> float:
        """Time of the first frame on the clock that the file's streams share: audio at this time goes with it."""
        return self.first_pts * self.time_base[0] / self.time_base[1]


def probe_video(path: Path, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """Find out what video a file is: its packets are counted, and its first frame is decoded.

    Raises:
        VideoError: it is none, or one over the limits.
    """
    request: dict[str, Any] = {
        "path": str(path.absolute()),
        "video": {
            "max_pixels": limits.max_pixels,
            "max_seconds": limits.max_seconds,
            "max_frames": limits.max_frames,
        },
        "limits": {"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.probe_seconds + 1},
    }
    answer = ask(module_command("service.media.probe_child"), request, limits.probe_seconds)
    if answer.get("rotation") in (90, 270):
        answer["sample_aspect"] = answer["sample_aspect"][::-1]
    try:
        return VideoInfo.model_validate(answer)
    except ValidationError as error:
        raise VideoError("corrupt", f"reading it gave nonsense: {error.errors()[0]['loc']}") from error
