"""A video job: what it was asked for, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.jobs.options import VideoOptions
from service.media.probe import VideoInfo
from service.wire import ProblemDetails
from shared.schema import ModelRef

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
SOURCE = "source"
POSES = "poses.jsonl"
POSTER = "poster.jpg"
"""Names of files of every job; the annotated video is ``video`` with its codec's suffix."""

FINISHED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})


class JobSpec(BaseModel):
    """All that a worker needs to know of a job; written once, when it is acknowledged."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="Hexadecimal digits; also the name of the job's folder.")
    filename: str | None = Field(default=None, description="As the client called it. Never used as a path.")
    bytes: int = Field(description="Size of the upload.")
    options: VideoOptions
    source: VideoInfo
    frames_total: int = Field(description="Frames of the result: the source's, or what `fps` makes of them.")
    idempotency_key: str | None = None


class JobOutput(BaseModel):
    """The result of a job that succeeded."""

    codec: str = Field(examples=["h264"])
    media_type: str = Field(examples=["video/mp4"])
    suffix: str = Field(examples=[".mp4"])
    bytes: int
    frames: int
    seconds: float
    width: int
    height: int
    people_seen: int | None = Field(
        description="How many different people there were, not counting who was found in a few frames only; "
        "null without tracking."
    )
    model: ModelRef


class Job(BaseModel):
    """One video job as clients see it."""

    id: str
    state: JobState
    filename: str | None
    bytes: int = Field(description="Size of the upload.")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    options: VideoOptions
    source: VideoInfo
    frames_done: int
    frames_total: int
    fps: float | None = Field(
        default=None, description="Frames per second that the work is done at; null unless running."
    )
    eta_seconds: float | None = Field(
        default=None, description="Seconds until it is done at that speed; null unless running."
    )
    warnings: list[str] = Field(default_factory=list, description="What was wrong with the video and passed over.")
    error: ProblemDetails | None = Field(default=None, description="Why it failed.")
    output: JobOutput | None = Field(default=None, description="The result, once it succeeded.")
    links: dict[str, str] = Field(
        default_factory=dict, description="Paths: self, events; after success also video, poses, poster."
    )

    @property
    def finished(self) -> bool:
        """Whether nothing about it will change any more."""
        return self.state in FINISHED


class JobFailed(Exception):
    """A job that cannot be done.

    Args:
        kind: end of the problem's type, e.g. ``video-corrupt``.
        detail: what was wrong, for the client.
        final: trying again would not help.
        members: of the problem.
    """

    def __init__(self, kind: str, detail: str, *, final: bool = True, **members: Any) -> None:
        super().__init__(detail)
        self.final = final
        self.problem = {"kind": kind, "detail": detail, "members": members}
