"""What can be asked of a video job. Stored with the job, so every field has to survive JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.look_options import LookOptions
from service.parsing import MOST_PEOPLE
from shared.inference.estimator import DEFAULT_MAX_PEOPLE

MOST_EVERY = 10  # so many frames are held until the next one is looked at
LEAST_FPS, MOST_FPS = 0.1, 240


class VideoOptions(LookOptions):
    """How a video is looked at, and how the result is drawn and encoded."""

    max_people: int = Field(default=DEFAULT_MAX_PEOPLE, ge=1, le=MOST_PEOPLE, description="Most people in a frame.")
    model: str | None = Field(default=None, description="Name of a loaded model. Default: the first.")
    track: bool = Field(default=True, description="Give people ids that stay the same over the video.")
    smooth: bool = Field(default=True, description="Smooth keypoints over time (one-euro filter).")
    every: int = Field(
        default=1, ge=1, le=MOST_EVERY, description="Look at each n-th frame only, and interpolate the frames between."
    )
    codec: str = Field(
        default="h264",
        description="`h264`, `vp9`, `mpeg4`, `mjpeg`, or a four-character code such as `XVID` or `MP4V`.",
    )
    fps: float | None = Field(
        default=None,
        ge=LEAST_FPS,
        le=MOST_FPS,
        description="Frames per second of the result. Default: the source's own timing is kept.",
    )
    draw: bool = Field(default=True, description="Draw the skeletons.")
    draw_ids: bool = Field(default=True, description="Write each person's id beside them.")
    draw_boxes: bool = Field(default=False, description="Draw each person's box.")
    background: Literal["video", "black"] = Field(default="video", description="What the skeletons are drawn on.")
