"""Examples and error responses for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service import problems
from service.problems import ProblemDetails

_REQUEST_ID = "5f0c6f8e4f5c4d0f8b8f6f0a3c1d2e3f"
_IMAGE_TYPES = list(problems.IMAGE_TYPES)

ProblemTable = dict[int, tuple[str, dict[str, dict[str, Any]]]]
"""By status: when it is given, and examples by name: the arguments of a `Problem` without the status."""

_PROBLEMS: ProblemTable = {
    400: (
        "The body is empty, truncated, corrupt, or not the multipart that was announced.",
        {
            "empty": {"kind": "empty-body", "detail": "The body is empty. Send a picture."},
            "truncated": {
                "kind": "truncated-image",
                "detail": "The JPEG image is truncated: it ends before its data does.",
            },
        },
    ),
    401: (
        "The admin key is missing or wrong.",
        {
            "key": {
                "kind": "wrong-admin-key",
                "detail": "Send the header `Authorization: Bearer KEY` with the key of YAOP_ADMIN_KEY.",
            }
        },
    ),
    403: (
        "The service was started without an admin key, so nobody may do this.",
        {
            "unset": {
                "kind": "no-admin-key",
                "detail": "This service has no admin key. Start it with YAOP_ADMIN_KEY to allow this.",
            }
        },
    ),
    404: (
        "There is no such thing.",
        {"model": {"kind": "model-not-found", "detail": "There is no model named vgg. Loaded: mobilenet_fpn."}},
    ),
    409: (
        "The new models cannot be used, or another reload is under way; the old ones keep answering.",
        {
            "damaged": {
                "kind": "reload-failed",
                "detail": "/models/mobilenet_fpn/model.tflite: altered (its SHA-256 is not the one in the manifest). "
                "The models that were loaded before keep answering.",
            }
        },
    ),
    413: (
        "The body, the picture or the number of pictures is over the limit.",
        {
            "body": {
                "kind": "body-too-large",
                "detail": "The body is larger than the limit of 25 MB. Send a smaller picture, or fewer of them.",
            },
            "pixels": {
                "kind": "picture-too-large",
                "detail": "The picture is 10000 x 8000 pixels (80.0 megapixels); at most 50 megapixels are accepted.",
            },
        },
    ),
    415: (
        "The content type, or the format of the picture, is not one that is read here.",
        {
            "type": {
                "kind": "unsupported-media-type",
                "detail": "Content-Type text/plain is not accepted here. Accepted: image/jpeg, image/png, ...",
            },
            "heic": {
                "kind": "unsupported-image",
                "detail": "HEIC images are not accepted; convert the picture to JPEG "
                "(accepted: JPEG, PNG, WebP and BMP).",
            },
        },
    ),
    422: (
        "A query parameter is wrong; all wrong ones are listed, with what would be right.",
        {
            "format": {
                "kind": "invalid-parameters",
                "detail": "format: must be one of 'native', 'openpose' or 'coco'",
                "errors": [
                    {
                        "in": "query",
                        "name": "format",
                        "message": "must be one of 'native', 'openpose' or 'coco'",
                        "given": "xml",
                    }
                ],
            }
        },
    ),
    500: (
        "A bug, or an engine that failed. The request's id finds the cause in the log.",
        {"engine": {"kind": "engine-failed", "detail": "The engine failed on this picture. The log says why."}},
    ),
    503: (
        "Too many pictures are in progress, or this one took too long. Come back after `Retry-After` seconds.",
        {"full": {"kind": "queue-full", "detail": "64 pictures are already in progress."}},
    ),
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these error statuses of the routes for pictures, with examples."""
    return responses_of(_PROBLEMS, statuses)


def responses_of(table: ProblemTable, statuses: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses of a table."""
    return {status: _problem_response(status, *table[status]) for status in statuses}


def _problem_response(status: int, description: str, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    examples = {name: {"value": _example(status, **case)} for name, case in cases.items()}
    response: dict[str, Any] = {
        "description": description,
        "content": {problems.MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema(), "examples": examples}},
    }
    if status == 503:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    return response


def _example(status: int, kind: str, detail: str, **members: Any) -> dict[str, Any]:
    if status == 415:
        members.setdefault("accepted", _IMAGE_TYPES)
    problem = problems.Problem(status, kind, detail, **members)
    return problem.details(_REQUEST_ID).model_dump()


_KEYPOINTS = [
    (312.4, 121.1), (309.9, 168.3), (271.6, 170.2), (258.3, 224.0), (263.5, 262.9), (348.2, 166.4), (366.0, 215.7),
    (359.8, 260.1), (286.1, 268.8), (281.4, 341.5), (277.9, 410.3), (334.7, 266.9), (339.2, 338.0), (343.6, 407.7),
    (305.1, 114.6), (320.3, 113.9), (296.4, 119.8), (331.5, 118.2),
]  # fmt: skip
_COCO_ORDER = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)

OPENPOSE_EXAMPLE = {
    "version": 1.3,
    "people": [
        {
            "person_id": [-1],
            "pose_keypoints_2d": [number for x, y in _KEYPOINTS for number in (x, y, 0.91)],
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": [],
            "pose_keypoints_3d": [],
            "face_keypoints_3d": [],
            "hand_left_keypoints_3d": [],
            "hand_right_keypoints_3d": [],
        }
    ],
}
COCO_EXAMPLE = [
    {
        "image_id": 0,
        "category_id": 1,
        "keypoints": [number for i in _COCO_ORDER for number in (*_KEYPOINTS[i], 0.91)],
        "score": 0.91,
    }
]
FRAME_EXAMPLE = {
    "index": 0,
    "timestamp": 0.0,
    "width": 640,
    "height": 480,
    "people": [
        {
            "id": None,
            "score": 0.91,
            "bbox": [258.3, 113.9, 107.7, 296.4],
            "keypoints": {
                "nose": {"x": 312.4, "y": 121.1, "score": 0.91},
                "neck": {"x": 309.9, "y": 168.3, "score": 0.91},
                "right_shoulder": {"x": 271.6, "y": 170.2, "score": 0.91},
                "left_ear": None,
            },
        }
    ],
    "model": {"name": "mobilenet_fpn", "version": "1.0.0"},
    "timing_ms": {"decode": 2.1, "network": 21.4, "assembly": 0.6, "queue": 0.5, "total": 24.6},
}
BATCH_EXAMPLE = {
    "results": [
        {"filename": "team.jpg", "result": FRAME_EXAMPLE, "problem": None},
        {
            "filename": "notes.txt",
            "result": None,
            "problem": problems.Problem(
                415,
                "unsupported-image",
                "The bytes are not an image of an accepted format (accepted: JPEG, PNG, WebP and BMP).",
                accepted=_IMAGE_TYPES,
            )
            .details()
            .model_dump(exclude_none=True),
        },
    ]
}
