"""A video job in the serving image."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import av

from deploy.images.image import ImageError
from deploy.images.service import Service, checked
from tests.clips import people_clip

_VIDEO = 300.0
_FRAMES = 45


def try_video(service: Service, work: Path) -> str:
    """A video job to its end: the result plays, with people in every frame. Raises `ImageError` if not."""
    clip = people_clip(work / "clip.mp4", seconds=_FRAMES / 15, size=(640, 360), fps=15)
    with clip.open("rb") as file:
        answer = service.http.post("/videos", params={"resolution": "fast"}, files={"video": file})
    place = checked(answer, 202).headers["Location"]
    job = _wait_for_job(service, place)
    frames, codec = _play(checked(service.http.get(f"{place}/video")).content)
    lines = [json.loads(line) for line in checked(service.http.get(f"{place}/poses")).text.splitlines()]
    if frames != _FRAMES or len(lines) != _FRAMES:
        raise ImageError(f"a video of {_FRAMES} frames came back with {frames} and {len(lines)} lines of poses")
    if not all(line["people"] for line in lines):
        raise ImageError("found nobody in some frame of the video")
    return f"a video job {job['state']}; the result plays: {frames} frames of {codec}, people in each"


def _wait_for_job(service: Service, place: str) -> Any:
    deadline = time.monotonic() + _VIDEO
    while time.monotonic() < deadline:
        job = checked(service.http.get(place)).json()
        if job["state"] in ("succeeded", "failed", "cancelled"):
            if job["state"] != "succeeded":
                raise ImageError(f"the video job {job['state']}: {job['error']}")
            return job
        time.sleep(0.2)
    raise ImageError(f"the video job is not done after {_VIDEO:.0f} s")


def _play(video: bytes) -> tuple[int, str]:
    """Decode all of it. Gives the number of frames and the codec's name."""
    with av.open(io.BytesIO(video), mode="r") as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(stream)), stream.codec_context.name
