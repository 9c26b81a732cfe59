"""What is wrong with a video, as the client that sent it is told."""

from __future__ import annotations

from typing import Any

from service.media.upload import VIDEO_TYPES
from service.media.video_errors import VideoError, VideoErrorReason
from service.problems import Problem

_STATUS: dict[VideoErrorReason, int] = {
    "empty": 400,
    "not-video": 415,
    "unsupported-container": 415,
    "unsupported-codec": 415,
    "no-video-stream": 422,
    "no-frames": 422,
    "truncated": 422,
    "corrupt": 422,
    "too-slow": 422,
    "too-much-memory": 422,
    "too-large-pixels": 413,
    "too-long": 413,
    "too-many-frames": 413,
    "interrupted": 503,
}


def video_problem(error: VideoError) -> Problem:
    """The problem for a video that cannot be taken; its type ends in ``video-`` and the error's reason."""
    text = str(error)
    detail = text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
    status = _STATUS[error.reason]
    members: dict[str, Any] = {"accepted": list(VIDEO_TYPES)} if status in (400, 415) else {}
    headers = {"Retry-After": "1"} if status == 503 else None
    return Problem(status, f"video-{error.reason}", detail, headers=headers, **members)
