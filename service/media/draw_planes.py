"""Overlays drawn straight onto a frame's YUV planes, which at 720p saves the two conversions to RGB and back."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from service.media.frame import ColorMatrix, VideoFrame
from shared.assembly import People, redundant_limbs
from shared.drawing import JOINT_RADIUS, OUTLINE, limb_width, outline_width
from shared.skeleton import Color, Skeleton

_SHIFT = 4  # OpenCV's fixed-point bits, so that lines start and end between pixels
_ONE = 1 << _SHIFT
_FAR = 2.0**15  # beyond this OpenCV's fixed point overflows
_BLACK = (16, 128, 128)
_WIDER = 0.6  # pixels that OpenCV adds to a width, beyond those it adds in a plane of full size
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 22  # pixels of that font's capitals at scale 1
_GOLDEN = 0.618034  # turns of the colour wheel: neighbouring ids look different
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}  # of red and blue in luma

Yuv = tuple[int, int, int]


@dataclass(frozen=True)
class DrawOptions:
    """What is drawn.

    Attributes:
        skeletons: limbs and joints.
        ids: each person's number in a tag at the head.
        boxes: a rectangle around each person's keypoints, in the colour of the id.
        thickness: of the limbs in pixels; by default it follows the size of the picture and of each person.
        background: "black" hides the picture and shows the people alone.
    """

    skeletons: bool = True
    ids: bool = True
    boxes: bool = False
    thickness: int | None = None
    background: Literal["video", "black"] = "video"


class _Canvas(NamedTuple):
    """What one colour is drawn on.

    Attributes:
        luma: plane uint8 ``[h, w]``.
        chroma: uint8 ``[h / 2, w / 2, 3]``: blue, red, and blue again; OpenCV smooths no edges of two channels.
        matrix: of the frame.
    """

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    matrix: ColorMatrix

    def bars(self, ends: NDArray[np.float64], width: float, colors: Sequence[Yuv], *, smooth: bool = True) -> None:
        """Draw straight bars between pairs of points, float ``[N, 2, 2]``, each over the ones before it."""
        for plane, places, thick, part, line in self._planes(ends, width, smooth):
            corners = np.rint(_bar_corners(places, thick) * _ONE).astype(np.int32)
            for corner, color in zip(corners, colors, strict=True):
                cv2.fillConvexPoly(plane, corner, color[part], line, _SHIFT)

    def discs(self, centres: NDArray[np.float64], width: float, colors: Sequence[Yuv], *, smooth: bool = True) -> None:
        """Draw discs of this diameter around points, float ``[N, 2]``, each over the ones before it."""
        for plane, places, thick, part, line in self._planes(centres, width, smooth):
            radius = round(thick / 2 * _ONE)
            for place, color in zip(np.rint(places * _ONE).astype(int).tolist(), colors, strict=True):
                cv2.circle(plane, place, radius, color[part], cv2.FILLED, line, _SHIFT)

    def _planes(
        self, points: NDArray[np.float64], width: float, smooth: bool
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64], float, slice, int]]:
        """Each plane with `points` and `width` in its pixels, its part of a colour and how OpenCV treats edges.

        OpenCV makes whatever it draws half a pixel wider on each side, which is twice as much in the small plane.
        """
        yield self.luma, points, width, slice(1), cv2.LINE_AA
        narrow = max(width / 2 - _WIDER, 0.2)
        yield self.chroma, (points + 0.5) / 2 - 0.5, narrow, slice(1, 3), cv2.LINE_AA if smooth else cv2.LINE_8

    def block(self, left: int, top: int, right: int, bottom: int, color: Yuv) -> None:
        """Fill whole pixels, edges moved outwards to even ones; what is outside the picture is left out."""
        half = [max(0, left // 2), max(0, top // 2), max(0, (right + 1) // 2), max(0, (bottom + 1) // 2)]
        self.luma[2 * half[1] : 2 * half[3], 2 * half[0] : 2 * half[2]] = color[0]
        self.chroma[half[1] : half[3], half[0] : half[2], :2] = color[1:]


def draw_on_planes(
    frame: VideoFrame,
    people: People,
    skeleton: Skeleton,
    options: DrawOptions = DrawOptions(),
    ids: Sequence[int | None] | None = None,
) -> VideoFrame:
    """Draw people onto a copy of a frame, looking as `shared.drawing.draw_people` draws them onto a picture.

    Args:
        frame: is left as it is.
        people: in pixels of `frame`.
        skeleton: limbs and colours. Limbs that only help assembly (shoulder to ear) are not drawn.
        options: what is drawn.
        ids: number of each person, None for those without.

    Returns:
        The frame with the people, its planes in memory of their own.
    """
    planes = frame.planes.copy()
    drawn = VideoFrame(frame.index, frame.timestamp, frame.pts, frame.width, frame.height, planes, frame.matrix)
    luma, blue, red = drawn.split()
    if options.background == "black":
        for plane, value in zip((luma, blue, red), _BLACK, strict=True):
            plane.fill(value)
    if not len(people.keypoints):
        return drawn
    canvas = _Canvas(luma, cv2.merge([blue, red, blue]).astype(np.uint8, copy=False), frame.matrix)
    _draw_people(canvas, people, skeleton, options, ids or [None] * len(people.keypoints))
    blue[:], red[:] = canvas.chroma[..., 0], canvas.chroma[..., 1]
    return drawn


def _draw_people(
    canvas: _Canvas, people: People, skeleton: Skeleton, options: DrawOptions, ids: Sequence[int | None]
) -> None:
    shape = canvas.luma.shape
    for keypoints, number in reversed(list(zip(people.keypoints, ids, strict=True))):  # the surest on top
        present = keypoints[keypoints[:, 2] > 0, :2]
        if not len(present):
            continue
        width = max(1, options.thickness if options.thickness is not None else limb_width(keypoints, shape))
        color = to_yuv(id_color(number), canvas.matrix)
        if options.boxes:
            _draw_box(canvas, present, width, color)
        if options.skeletons:
            _draw_person(canvas, keypoints, skeleton, width)
        if options.ids and number is not None:
            _draw_tag(canvas, present, str(number), color)


def _draw_person(canvas: _Canvas, keypoints: NDArray[np.float32], skeleton: Skeleton, width: int) -> None:
    points = np.clip(keypoints[:, :2], -_FAR, _FAR).astype(np.float64)
    present = keypoints[:, 2] > 0
    colors = [to_yuv(color, canvas.matrix) for color in skeleton.colors]
    limbs = [limb for limb in _drawn_limbs(skeleton) if present[limb].all()]
    joints = np.flatnonzero(present).tolist()
    ends, outline, edge = (
        points[np.array(limbs, int).reshape(-1, 2)],
        outline_width(width),
        [to_yuv(OUTLINE, canvas.matrix)],
    )
    # A grey edge's colour difference is next to none, so that rough edges of it go unseen.
    canvas.bars(ends, outline, edge * len(limbs), smooth=False)
    canvas.discs(points[joints], 2 * JOINT_RADIUS * outline, edge * len(joints), smooth=False)
    canvas.bars(ends, width, [colors[end] for _, end in limbs])
    canvas.discs(points[joints], 2 * JOINT_RADIUS * width, [colors[joint] for joint in joints])


@lru_cache(maxsize=16)
def _drawn_limbs(skeleton: Skeleton) -> list[list[int]]:
    return [list(limb) for i, limb in enumerate(skeleton.limbs) if i not in redundant_limbs(skeleton)]


def _bar_corners(ends: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Corners ``[N, 4, 2]`` of bars between pairs of points ``[N, 2, 2]``."""
    along = ends[:, 1] - ends[:, 0]
    across = along[:, ::-1] * [-1, 1] * (width / 2 / np.maximum(np.hypot(*along.T), 1e-6))[:, None]
    return ends[:, [0, 1, 1, 0]] + np.stack([across, across, -across, -across], axis=1)


def _draw_box(canvas: _Canvas, present: NDArray[np.float32], width: int, color: Yuv) -> None:
    left, top, right, bottom = _bounds(present)
    edge = 2 * ((width + 2) // 3)
    canvas.block(left, top, right, top + edge, color)
    canvas.block(left, bottom - edge, right, bottom, color)
    canvas.block(left, top, left + edge, bottom, color)
    canvas.block(right - edge, top, right, bottom, color)


def _draw_tag(canvas: _Canvas, present: NDArray[np.float32], text: str, color: Yuv) -> None:
    """The number over the person's head, inside the picture; the letters are luma only, where the eye is sharp."""
    height, width = canvas.luma.shape
    size = min(max(0.018 * max(height, width), 9.0), 48.0)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, size / _FONT_HEIGHT, 1)
    margin = size / 2
    left, top, right, _ = _bounds(present)
    box_width, box_height = text_width + 2 * margin, size + 2 * margin
    x = round(min(max((left + right - box_width) / 2, 0), max(0, width - box_width)) / 2) * 2
    y = round(min(max(top - 2 * size - box_height, 0), max(0, height - box_height)) / 2) * 2
    canvas.block(x, y, x + round(box_width), y + round(box_height), color)
    place = (x + round(margin), y + round(margin + size))
    ink = 16 if color[0] > 110 else 235
    cv2.putText(canvas.luma, text, place, _FONT, size / _FONT_HEIGHT, (ink,), max(1, round(size / 8)), cv2.LINE_AA)


def _bounds(present: NDArray[np.float32]) -> tuple[int, int, int, int]:
    left, top = np.clip(present.min(axis=0), -_FAR, _FAR).tolist()
    right, bottom = np.clip(present.max(axis=0), -_FAR, _FAR).tolist()
    return int(left), int(top), int(right) + 1, int(bottom) + 1


@lru_cache(maxsize=4096)
def id_color(number: int | None) -> Color:
    """The colour, RGB, of a person's box and tag: always the same for a number, white without one."""
    if number is None:
        return (255, 255, 255)
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


@lru_cache(maxsize=4096)
def to_yuv(color: Color, matrix: ColorMatrix) -> Yuv:
    """An RGB colour as limited-range Y, blue and red difference."""
    red, green, blue = (part / 255 for part in color)
    red_weight, blue_weight = _WEIGHTS[matrix]
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    blue_part, red_part = (blue - luma) / (2 - 2 * blue_weight), (red - luma) / (2 - 2 * red_weight)
    return round(16 + 219 * luma), round(128 + 224 * blue_part), round(128 + 224 * red_part)


def poster_jpeg(frame: VideoFrame, long_side: int = 640) -> bytes:
    """A JPEG file of the frame, its long side at most `long_side` pixels."""
    image = frame.rgb()
    scale = min(1.0, long_side / max(frame.width, frame.height))
    if scale < 1:
        size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:  # pragma: no cover - every size a frame can have is possible
        raise ValueError(f"no JPEG of {frame.width} x {frame.height} pixels")
    return data.tobytes()
