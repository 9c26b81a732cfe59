"""Pictures of what a network learns and says: fields over the input, skeletons, and several of them side by side.

Every picture is RGB uint8 ``[H, W, 3]``. A field ``[h, w, C]`` lies over the whole picture, whatever its stride:
cells are resized as `shared.geometry` says, with the edges in place, which is what OpenCV's INTER_LINEAR does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.assembly import People
from shared.drawing import draw_people
from shared.geometry import Points
from shared.images import RgbImage, encode_image
from shared.skeleton import Skeleton

Field = NDArray[np.floating]
Floats = NDArray[np.float32]

_DIM = 0.4  # of the picture's brightness is left under a field
_GAP = 4
_CAPTION_HEIGHT = 22
_BACKGROUND = (32, 33, 36)
_CAPTION_COLOR = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ARROWS_ACROSS = 24  # on the long side of a picture
_LEAST_ARROW = 0.25  # weaker vectors get no arrow
_SHIFT = 4  # OpenCV's fixed-point bits
_HATCH = 8


def overlay_heatmaps(image: RgbImage, heatmaps: Field, skeleton: Skeleton) -> RgbImage:
    """Each keypoint's heatmap in the keypoint's colour over the dimmed picture; the strongest one wins a pixel.

    Args:
        image: RGB uint8 ``[H, W, 3]``.
        heatmaps: ``[h, w, K]``, cut to 0..1.
        skeleton: K colours.

    Raises:
        ValueError: the heatmaps have another number of channels than the skeleton has keypoints.
    """
    _require_channels(heatmaps, skeleton.num_keypoints, "heatmaps", skeleton)
    field = np.clip(_resized(heatmaps, image), 0.0, 1.0)
    colors = np.array(skeleton.colors, np.float32)[field.argmax(axis=-1)]
    return _blend(_dimmed(image), colors, field.max(axis=-1))


def overlay_pafs(image: RgbImage, pafs: Field, skeleton: Skeleton) -> RgbImage:
    """The PAFs over the dimmed picture: direction as hue and as sparse arrows, length as brightness.

    Each pixel shows the longest of its limbs' vectors. (Their sum would vanish where limbs cross head on, and
    the noise of many limbs would add up to a glow.)

    Args:
        image: RGB uint8 ``[H, W, 3]``.
        pafs: ``[h, w, 2L]``, x and y of each limb in turn.
        skeleton: L limbs.

    Raises:
        ValueError: the PAFs have another number of channels than the skeleton's limbs need.
    """
    _require_channels(pafs, 2 * skeleton.num_limbs, "PAFs", skeleton)
    vectors = _longest(_resized(pafs, image))
    strength = np.minimum(np.hypot(vectors[..., 0], vectors[..., 1]), 1.0)
    picture = _blend(_dimmed(image), _hues(vectors), strength)
    _draw_arrows(picture, vectors, strength)
    return picture


def draw_keypoints(image: RgbImage, keypoints: Floats, skeleton: Skeleton) -> RgbImage:
    """Labelled or estimated people as skeletons on a copy of the picture.

    Args:
        image: RGB uint8 ``[H, W, 3]``.
        keypoints: ``[N, K, 3]``: x and y in pixels of `image`; the third is a visibility or a score, present above 0.
        skeleton: K keypoints.
    """
    points = np.asarray(keypoints, np.float32).reshape(-1, skeleton.num_keypoints, 3)
    return draw_people(image, People(points, points[..., 2].mean(axis=-1)), skeleton)


def shade_mask(image: RgbImage, mask: NDArray[Any]) -> RgbImage:
    """Hatch on a copy of the picture what the loss does not count.

    Args:
        image: RGB uint8 ``[H, W, 3]``.
        mask: ``[h, w, 1]``, 1 where the loss counts and 0 where nothing is known.
    """
    height, width = image.shape[:2]
    unknown = np.asarray(mask)[..., 0].astype(np.float32) < 0.5
    shaded = cv2.resize(unknown.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    rows, columns = np.indices((height, width), sparse=True)
    stripes = (rows + columns) % _HATCH < _HATCH // 4
    out = image.copy()
    out[shaded] = out[shaded] // 2
    out[shaded & stripes] = (220, 60, 120)
    return out


def grid(rows: Sequence[Sequence[RgbImage]], captions: Sequence[Sequence[str]] = ()) -> RgbImage:
    """Pictures in rows and columns on a dark ground, each column as wide as its widest picture.

    Args:
        rows: pictures of any sizes; rows may have different lengths.
        captions: for each row the words above its pictures, ASCII, or nothing: ``[["input", "target"]]`` gives
            headings to two columns, once.

    Raises:
        ValueError: there is no picture.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("a grid needs a picture")
    widths = [max(row[i].shape[1] for row in rows if i < len(row)) for i in range(columns)]
    strips: list[RgbImage] = []
    for number, row in enumerate(rows):
        words = captions[number] if number < len(captions) else ()
        if any(words):
            strips.append(_strip([_caption(word, width) for word, width in zip(words, widths, strict=False)], widths))
        strips.append(_strip(row, widths))
    return np.concatenate(strips)[:-_GAP, :-_GAP]


def encode_png(image: RgbImage) -> bytes:
    """The picture as a PNG file."""
    return encode_image(image, "png")


def sample_pictures(
    batch: Mapping[str, Any],
    predicted: Mapping[str, Any],
    skeleton: Skeleton,
    people: Sequence[People] | None = None,
    *,
    targets: Any = None,
    limit: int = 4,
) -> dict[str, RgbImage]:
    """What the network was given, should say and says, one sheet a sample: for TensorBoard and for the report.

    Args:
        batch: the keys of `trainer.data.pipeline.Batch`, as arrays or tensors. Targets are taken from its
            ``heatmaps`` and ``pafs`` if it has them, and rendered otherwise.
        predicted: a network's outputs for ``batch["images"]``, of which ``heatmaps`` and ``pafs`` are shown.
        skeleton: names and colours.
        people: who was decoded from each sample, in network-input pixels; None leaves that picture out.
        targets: `trainer.data.targets.TargetOptions` to render with; None for the default ones.
        limit: at most so many samples, the first ones.

    Returns:
        ``sample_0`` and so on: above, with headings, the input, its labels, target heatmaps and target PAFs; below,
        where the loss counts, decoded skeletons, predicted heatmaps and predicted PAFs.
    """
    # Tensors of TensorFlow and JAX turn themselves into arrays.
    given = {name: np.asarray(value[:limit]) for name, value in batch.items()}
    said = {name: np.asarray(predicted[name][:limit]) for name in ("heatmaps", "pafs")}
    wanted = given if "heatmaps" in given else given | _render(given, said["heatmaps"].shape[1:3], skeleton, targets)
    sheets: dict[str, RgbImage] = {}
    for i, image in enumerate(given["images"]):
        said_so = draw_people(image, people[i], skeleton) if people is not None else np.full_like(image, _BACKGROUND)
        rows = [
            [image, draw_keypoints(image, given["keypoints"][i], skeleton), *_fields(image, wanted, i, skeleton)],
            [shade_mask(image, given["mask"][i]), said_so, *_fields(image, said, i, skeleton)],
        ]
        decoded = "skeletons" if people is not None else ""
        sheets[f"sample_{i}"] = grid(rows, [
            ["input", "labels", "target heatmaps", "target PAFs"],
            ["where the loss counts", decoded, "predicted heatmaps", "predicted PAFs"],
        ])  # fmt: skip
    return sheets


def _fields(image: RgbImage, fields: Mapping[str, NDArray[Any]], i: int, skeleton: Skeleton) -> list[RgbImage]:
    return [
        overlay_heatmaps(image, fields["heatmaps"][i], skeleton),
        overlay_pafs(image, fields["pafs"][i], skeleton),
    ]


def _render(
    batch: Mapping[str, NDArray[Any]], shape: tuple[int, ...], skeleton: Skeleton, options: Any
) -> dict[str, NDArray[Any]]:
    from keras import ops

    from trainer.data.targets import DEFAULT_OPTIONS, render_targets

    height, width = shape
    stride = batch["images"].shape[1] // height
    fields = render_targets(
        batch["keypoints"], batch["sizes"], (height, width), stride, skeleton, options or DEFAULT_OPTIONS
    )
    heatmaps, pafs = (np.asarray(ops.convert_to_numpy(field)) for field in fields)
    return {"heatmaps": heatmaps, "pafs": pafs}


def _require_channels(field: Field, expected: int, what: str, skeleton: Skeleton) -> None:
    if field.ndim != 3 or field.shape[-1] != expected:
        raise ValueError(f"{what} {list(field.shape)} do not fit {skeleton.name}: expected [h, w, {expected}]")


def _resized(field: Field, image: RgbImage) -> Floats:
    height, width = image.shape[:2]
    planes = np.moveaxis(np.asarray(field, np.float32), -1, 0)
    resized = [cv2.resize(np.ascontiguousarray(p), (width, height), interpolation=cv2.INTER_LINEAR) for p in planes]
    return np.stack(resized, axis=-1)


def _dimmed(image: RgbImage) -> Floats:
    """The picture in dark grey, so that the colours are the field's: float32 ``[H, W, 3]``."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) * _DIM
    return np.repeat(grey[..., None], 3, axis=-1)


def _blend(below: Floats, above: Floats, share: Floats) -> RgbImage:
    mixed = below + (above - below) * share[..., None]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _longest(pafs: Floats) -> Floats:
    """Of ``[H, W, 2L]`` the longest vector of each pixel: ``[H, W, 2]``."""
    vectors = pafs.reshape(*pafs.shape[:2], -1, 2)
    limb = np.square(vectors).sum(axis=-1).argmax(axis=-1)
    return np.take_along_axis(vectors, limb[..., None, None], axis=2)[:, :, 0]


def _hues(vectors: Floats) -> Floats:
    """Full colours ``[H, W, 3]``: right is red, down green-yellow, left cyan, up violet."""
    degrees = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
    full = np.ones_like(degrees)
    hsv = np.stack([degrees, full, full], axis=-1).astype(np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255.0


def _draw_arrows(picture: RgbImage, vectors: Floats, strength: Floats) -> None:
    height, width = strength.shape
    step = max(10, round(max(height, width) / _ARROWS_ACROSS))
    for y in range(step // 2, height, step):
        for x in range(step // 2, width, step):
            if strength[y, x] >= _LEAST_ARROW:
                _draw_arrow(picture, np.array([x, y], np.float64), vectors[y, x], 0.45 * step)


def _draw_arrow(picture: RgbImage, center: Points, vector: Floats, half: float) -> None:
    reach = vector / max(1.0, float(np.hypot(*vector))) * half
    start, end = (_fixed_point(center + sign * reach) for sign in (-1.0, 1.0))
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.arrowedLine(picture, start, end, color, thickness, cv2.LINE_AA, _SHIFT, 0.4)


def _fixed_point(point: Points) -> tuple[int, int]:
    x, y = np.rint(point * (1 << _SHIFT)).astype(int).tolist()
    return x, y


def _strip(pictures: Sequence[RgbImage], widths: Sequence[int]) -> RgbImage:
    height = max((picture.shape[0] for picture in pictures), default=0) + _GAP
    strip = np.full((height, sum(widths) + _GAP * len(widths), 3), _BACKGROUND, np.uint8)
    left = 0
    for picture, width in zip(pictures, widths, strict=False):
        strip[: picture.shape[0], left : left + picture.shape[1]] = picture
        left += width + _GAP
    return strip


def _caption(words: str, width: int) -> RgbImage:
    """One line of text, made smaller until it fits."""
    picture = np.full((_CAPTION_HEIGHT - _GAP, width, 3), _BACKGROUND, np.uint8)
    (needed, _), _ = cv2.getTextSize(words, _FONT, 0.45, 1)
    scale = 0.45 * min(1.0, (width - 6) / max(1, needed))
    cv2.putText(picture, words, (3, _CAPTION_HEIGHT - 9), _FONT, scale, _CAPTION_COLOR, 1, cv2.LINE_AA)
    return picture
