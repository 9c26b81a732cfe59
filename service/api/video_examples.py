"""Examples and error responses of the video routes for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from service.api.examples import FRAME_EXAMPLE, ProblemTable, responses_of
from service.media.upload import VIDEO_TYPES

_ID = "0198f2a6c0e47d1b9a3c5e7f90112233"
_ACCEPTED = list(VIDEO_TYPES)

_PROBLEMS: ProblemTable = {
    400: (
        "The body is empty, or not the multipart that was announced.",
        {
            "empty": {"kind": "empty-body", "detail": "The video is empty. Send one."},
            "part": {
                "kind": "missing-part",
                "detail": "The multipart body has no part named video (parts found: file).",
                "accepted": _ACCEPTED,
            },
        },
    ),
    404: (
        "There is no such video (any more).",
        {"unknown": {"kind": "video-not-found", "detail": f"There is no video {_ID}, or not any more."}},
    ),
    408: (
        "The client has stopped sending in the middle. Nothing was kept.",
        {
            "stalled": {
                "kind": "upload-stalled",
                "detail": "Nothing of the body came for 120 seconds. Nothing was kept; send it again.",
            }
        },
    ),
    409: (
        "There is no result yet, or the job failed.",
        {
            "running": {
                "kind": "not-ready",
                "detail": "The video is running: 120 of 1800 frames are done. "
                f"GET /videos/{_ID}/events tells when it is.",
                "state": "running",
            }
        },
    ),
    413: (
        "The video has more bytes, pixels, seconds or frames than are taken here.",
        {
            "bytes": {
                "kind": "body-too-large",
                "detail": "The video is larger than the limit of 2 GB. Send a shorter one, or one of fewer pixels.",
                "limit_bytes": 2_000_000_000,
            },
            "pixels": {
                "kind": "video-too-large-pixels",
                "detail": "Its pictures are 7680 x 4320 pixels; at most 8912896 pixels (4096 x 2176) are accepted.",
            },
        },
    ),
    415: (
        "The file is no video, or not one of a container and codec that are read here.",
        {
            "text": {
                "kind": "video-not-video",
                "detail": "Its 5120 bytes are not a video; accepted are MP4, MOV, AVI, Matroska and WebM.",
                "accepted": _ACCEPTED,
            }
        },
    ),
    416: (
        "None of the ranges asked for is in the file.",
        {
            "range": {
                "kind": "range-not-satisfiable",
                "detail": "The file has 52110 bytes; none of the ranges bytes=60000- is in it.",
            }
        },
    ),
    422: (
        "A parameter is wrong, or the video has nothing that can be looked at.",
        {
            "codec": {
                "kind": "invalid-parameters",
                "detail": "every: input should be greater than or equal to 1",
                "errors": [
                    {
                        "in": "query",
                        "name": "every",
                        "message": "input should be greater than or equal to 1",
                        "given": "0",
                    }
                ],
            },
            "sound": {"kind": "video-no-video-stream", "detail": "It has sound but no pictures."},
            "key": {
                "kind": "idempotency-key-reused",
                "detail": f"The Idempotency-Key was used before, for another video or other options (job {_ID}).",
                "job": _ID,
            },
        },
    ),
    503: (
        "Too many videos are waiting. Come back after `Retry-After` seconds.",
        {
            "full": {
                "kind": "queue-full",
                "detail": "100 videos are queued or being worked on; no more than 100 may be.",
            }
        },
    ),
    507: (
        "The disk of the service, or the part of it that is for videos, is full. Nothing was kept.",
        {
            "full": {
                "kind": "disk-full",
                "detail": "The disk of the service is full. Nothing was kept; try again later.",
            },
            "waiting": {
                "kind": "storage-full",
                "detail": "The videos that are queued or being worked on take 19.2 GB. With this one, 1.5 GB, that is "
                "more than the 20 GB that there are. Nothing was kept; send it again when some of them are finished.",
            },
        },
    ),
}


def video_problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these error statuses of the routes for videos, with examples."""
    return responses_of(_PROBLEMS, statuses)


JOB_EXAMPLE: dict[str, Any] = {
    "id": _ID,
    "state": "running",
    "filename": "dance.mp4",
    "bytes": 18_204_117,
    "created_at": "2026-01-07T12:00:00Z",
    "started_at": "2026-01-07T12:00:01Z",
    "finished_at": None,
    "options": {
        "resolution": 384,
        "min_score": 0.05,
        "max_people": 30,
        "model": None,
        "track": True,
        "smooth": True,
        "every": 1,
        "codec": "h264",
        "fps": None,
        "draw": True,
        "draw_ids": True,
        "draw_boxes": False,
        "background": "video",
    },
    "source": {
        "container": "mp4",
        "codec": "h264",
        "pixel_format": "yuv420p",
        "stored_width": 1280,
        "stored_height": 720,
        "width": 1280,
        "height": 720,
        "matrix": "bt709",
        "frames": 1800,
        "seconds": 60.0,
        "fps": 30.0,
        "variable": False,
        "rotation": 0,
        "mirrored": False,
        "sample_aspect": [1, 1],
        "audio": "aac",
        "seekable": True,
        "warnings": [],
        "time_base": [1, 15360],
        "first_pts": 0,
        "step": 512,
        "by_order": False,
        "ends_early": False,
    },
    "frames_done": 600,
    "frames_total": 1800,
    "fps": 41.3,
    "eta_seconds": 29.1,
    "warnings": [],
    "error": None,
    "output": None,
    "links": {"self": f"/videos/{_ID}", "events": f"/videos/{_ID}/events"},
}
EVENTS_EXAMPLE = (
    'retry: 2000\n\nevent: progress\ndata: {"id":"...","state":"running","frames_done":600}\nid: 1000000600\n'
)
POSES_EXAMPLE = FRAME_EXAMPLE | {"index": 12, "timestamp": 0.4}
