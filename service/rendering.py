"""Estimates to the bytes of an answer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydantic_core import to_json
from starlette.responses import Response

from service.pipeline import Estimate, FieldsEstimate
from service.queries import Format
from shared.schema import Frame, frame_from_people, to_coco, to_openpose


def to_wire(
    estimate: Estimate, layout: Format, *, index: int = 0, image_id: int = 0
) -> Frame | dict[str, Any] | list[Any]:
    """The people in the layout that was asked for, ready for `to_json`."""
    skeleton = estimate.model.skeleton
    if layout == "openpose":
        return to_openpose(estimate.people, skeleton)
    if layout == "coco":
        return to_coco(estimate.people, image_id, skeleton)
    size, model = estimate.size, estimate.model.ref
    return frame_from_people(estimate.people, skeleton, *size, model, estimate.timing_ms, index=index)


def json_response(estimate: Estimate, layout: Format, image_id: int) -> Response:
    """The people of one picture as JSON."""
    body = to_json(to_wire(estimate, layout, image_id=image_id))
    return Response(body, headers=timing_headers(estimate.timing_ms), media_type="application/json")


def picture_response(picture: bytes, image_format: str, estimate: Estimate) -> Response:
    """An overlay."""
    return Response(picture, headers=timing_headers(estimate.timing_ms), media_type=f"image/{image_format}")


def fields_response(estimate: FieldsEstimate) -> Response:
    """The fields, and what it takes to read them, as an npz archive."""
    headers = timing_headers(estimate.timing_ms) | {"Content-Disposition": 'attachment; filename="fields.npz"'}
    return Response(pack_fields(estimate), headers=headers, media_type="application/octet-stream")


def pack_fields(estimate: FieldsEstimate) -> bytes:
    """An npz archive of the fields and of the letterbox.

    Members: ``heatmaps`` float32 ``[h, w, K]`` (0 to 1), ``pafs`` float32 ``[h, w, 2L]``, ``stride`` (pixels of
    the network input per cell), ``input_shape`` (height, width of the network input), ``region`` (x, y, width,
    height of what was looked at, in source pixels), ``size`` (width, height that the region was resized to, at
    the input's top left), ``picture`` (width, height of the source), ``keypoints`` and ``limbs``.
    """
    box, skeleton = estimate.prepared.letterbox, estimate.model.skeleton
    archive = io.BytesIO()
    np.savez(
        archive,
        heatmaps=estimate.fields.heatmaps,
        pafs=estimate.fields.pafs,
        stride=np.int64(estimate.model.bundle.manifest.stride),
        input_shape=np.array(box.shape),
        region=np.array([box.region.x, box.region.y, box.region.width, box.region.height]),
        size=np.array(box.size),
        picture=np.array(estimate.size),
        keypoints=np.array(skeleton.keypoints),
        limbs=np.array(skeleton.limbs),
    )
    return archive.getvalue()


def timing_headers(timing_ms: dict[str, float]) -> dict[str, str]:
    """The phases as a ``Server-Timing`` header, which browsers' tools show."""
    return {"Server-Timing": ", ".join(f"{phase};dur={value:.2f}" for phase, value in timing_ms.items())}
