"""What drawing and encoding cost on 720p, in CPU time, size and likeness, for the settings in use and others.

    python -m benchmarks.video_encoding [--frames 60]

The pictures are photographs that move, with a camera's noise, and five people drawn onto them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np

from service.media.codecs import VideoCodec, find_codec
from service.media.draw_planes import DrawOptions, draw_on_planes
from service.media.frame import VideoFrame
from service.media.writer import VideoWriter
from shared.assembly import People
from shared.skeleton import BODY_18
from tests import photos

SIZE = (1280, 720)
FPS = 30
PEOPLE = 5
_MARGIN = 160
_NOISE = 2.0  # standard deviation in grey levels, as a phone has indoors

# Right half of a standing body by name, in heights of a head from the neck; the left half mirrors it.
_TRUNK = {"nose": (0, -0.8), "neck": (0, 0), "shoulder": (-0.8, 0), "elbow": (-1.2, 1.2), "wrist": (-1.5, 2.2)}
_OTHERS = {"hip": (-0.5, 2.4), "knee": (-0.6, 4.1), "ankle": (-0.7, 5.8), "eye": (-0.2, -1), "ear": (-0.4, -0.9)}
_BODY = _TRUNK | _OTHERS


@dataclass(frozen=True)
class EncodingCost:
    """Of one setting.

    Attributes:
        name: of the setting.
        cpu: milliseconds of CPU time a frame.
        rate: megabits a second.
        likeness: peak signal-to-noise ratio of luma in dB, mean of the frames.
    """

    name: str
    cpu: float
    rate: float
    likeness: float


def settings() -> dict[str, VideoCodec]:
    """The codecs in use, and for H.264 what was not chosen."""
    h264 = find_codec("h264")
    chosen = {name: find_codec(name) for name in ("h264", "vp9", "mpeg4", "mjpeg")}
    return chosen | {
        f"libx264 {preset}, crf {crf}": replace(h264, options={"preset": preset, "crf": crf, "bf": "0"})
        for preset in ("ultrafast", "superfast", "veryfast")
        for crf in ("20", "23")
    }


def moving_pictures(count: int) -> list[VideoFrame]:
    """So many frames of photographs that move around under noise."""
    width, height = SIZE
    ground = cv2.resize(photos.group(4), (width + 2 * _MARGIN, height + 2 * _MARGIN))
    rng = np.random.default_rng(0)
    frames: list[VideoFrame] = []
    for index in range(count):
        x, y = round(_MARGIN * (1 + np.sin(index / 20))), round(_MARGIN * (1 + np.cos(index / 25)))
        image = ground[y : y + height, x : x + width] + rng.normal(0, _NOISE, (height, width, 3))
        planes = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_RGB2YUV_I420).astype(np.uint8)
        frames.append(VideoFrame(index, index / FPS, index, width, height, planes, "bt601"))
    return frames


def standing_people(index: int) -> People:
    """Five whole bodies that sway."""
    keypoints = np.zeros((PEOPLE, BODY_18.num_keypoints, 3), np.float32)
    for person in range(PEOPLE):
        middle = (person + 0.5) * SIZE[0] / PEOPLE + 30 * np.sin(index / 15 + person)
        for place, name in enumerate(BODY_18.keypoints):
            x, y = _BODY[name.removeprefix("right_").removeprefix("left_")]
            keypoints[person, place] = (middle + 70 * (-x if name.startswith("left_") else x), 180 + 70 * y, 0.9)
    return People(keypoints, np.linspace(0.9, 0.5, PEOPLE, dtype=np.float32))


def drawn_pictures(frames: Sequence[VideoFrame]) -> tuple[list[VideoFrame], float]:
    """The frames with people, and milliseconds of CPU time a frame (the median)."""
    options, ids = DrawOptions(), range(1, PEOPLE + 1)
    drawn: list[VideoFrame] = []
    times: list[float] = []
    for frame in frames:
        people = standing_people(frame.index)
        begin = time.process_time()
        drawn.append(draw_on_planes(frame, people, BODY_18, options, ids))
        times.append((time.process_time() - begin) * 1000)
    return drawn, float(np.median(times))


def encoding_cost(name: str, codec: VideoCodec, frames: Sequence[VideoFrame]) -> EncodingCost:
    """Encode the frames on one thread, three times: other processes only ever add to the shortest time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "segment.nut")
        cpu = min(_encode(path, codec, frames) for _ in range(3)) / len(frames) * 1000
        return EncodingCost(name, cpu, path.stat().st_size * 8 / len(frames) * FPS / 1e6, _likeness(path, frames))


def _encode(path: Path, codec: VideoCodec, frames: Sequence[VideoFrame]) -> float:
    """Seconds of CPU time."""
    begin = time.process_time()
    with VideoWriter(path, codec, *SIZE, fps=FPS, matrix="bt601", threads=1) as writer:
        for frame in frames:
            writer.write(frame)
    return time.process_time() - begin


def _likeness(path: Path, frames: Sequence[VideoFrame]) -> float:
    found: list[float] = []
    with av.open(str(path)) as container:
        for frame, decoded in zip(frames, container.decode(video=0), strict=True):
            luma = decoded.reformat(format="yuv420p", dst_color_range=1).to_ndarray()[: SIZE[1]]
            found.append(cv2.PSNR(frame.planes[: SIZE[1]], luma.astype(np.uint8)))
    return float(np.mean(found))


def _report(drawing: float, costs: Mapping[str, EncodingCost]) -> str:
    rows = [
        f"| {c.name} | {c.cpu:.1f} | {drawing + c.cpu:.1f} | {c.rate:.1f} | {c.likeness:.1f} |" for c in costs.values()
    ]
    head = ["| | encoding, ms | with drawing, ms | Mbit/s | PSNR, dB |", "|---|---|---|---|---|"]
    return "\n".join([f"Drawing {PEOPLE} people with ids on 1280x720: {drawing:.1f} ms of CPU time.", "", *head, *rows])


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    frames, drawing = drawn_pictures(moving_pictures(parser.parse_args().frames))
    costs = {name: encoding_cost(name, codec, frames) for name, codec in settings().items()}
    sys.stdout.write(_report(drawing, costs) + "\n")


if __name__ == "__main__":
    main()
