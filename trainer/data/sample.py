"""One serialised example to one augmented sample: picture, keypoints and mask through the same affine map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.skeleton import Skeleton
from trainer.data.augment import AugmentOptions, cut_out, draw, draw_affine, jitter_color
from trainer.data.picture import affine_scale, decode_and_warp, invert, transform_points

if TYPE_CHECKING:
    from trainer.data.pipeline import PipelineOptions

Tensor = Any

_MARGIN = 0.1  # of what the labelled people span: so far around them the labels are trusted


def parse_example(serialized: Tensor, keypoints: int) -> dict[str, Tensor]:
    """The features of one record (see `trainer.data.records`), lists as ``[N, K, 3]``, ``[N, 4]`` and so on."""
    import tensorflow as tf

    def rows(*shape: int) -> Any:
        return tf.io.FixedLenSequenceFeature(shape, tf.float32, allow_missing=True)

    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/width": tf.io.FixedLenFeature([], tf.int64),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "people/keypoints": rows(keypoints, 3),
        "people/boxes": rows(4),
        "ignored/boxes": rows(4),
        "keypoint_weights": tf.io.FixedLenFeature([keypoints], tf.float32),
        "only_labelled": tf.io.FixedLenFeature([], tf.int64, 0),
        "mask/encoded": tf.io.FixedLenFeature([], tf.string, ""),
    }
    return tf.io.parse_single_example(serialized, features)


def make_sample(
    serialized: Tensor,
    seed: Tensor,
    augment: AugmentOptions,
    options: PipelineOptions,
    skeleton: Skeleton,
    stride: int,
) -> dict[str, Tensor]:
    """One augmented sample: a `Batch` without its leading dimension, as a dict.

    Args:
        serialized: a TFRecord example.
        seed: int64 ``[2]``; the same seed gives the same sample.
        augment: numbers, or scalar tensors.
    """
    import tensorflow as tf

    example, draws = parse_example(serialized, skeleton.num_keypoints), draw(seed)
    picture = tf.cast(tf.stack([example["image/width"], example["image/height"]]), tf.float32)
    boxes = example["people/boxes"]
    matrix, mirror, box = draw_affine(boxes, picture, options.side, augment, draws)
    image = jitter_color(decode_and_warp(example["image/encoded"], matrix, options.side), augment, draws)
    keypoints, weights = _map_keypoints(example, matrix, mirror, skeleton)
    order = _people_in_view_first(keypoints, options.side)
    kept, dropped = order[: options.max_people], order[options.max_people :]
    sizes = tf.reduce_max(boxes[:, 2:], axis=1) * affine_scale(matrix)
    unknown = tf.concat([_largest(example["ignored/boxes"], options.max_ignored), tf.gather(boxes, dropped)], axis=0)
    first, second = ([limb[end] for limb in skeleton.limbs] for end in (0, 1))
    return {
        "images": cut_out(image, box, matrix, augment, draws),
        "keypoints": _pad(tf.gather(keypoints, kept), options.max_people),
        "sizes": _pad(tf.gather(sizes, kept), options.max_people),
        "mask": render_mask(example, unknown, picture, matrix, options.side // stride, stride),
        "keypoint_weights": weights,
        "limb_weights": tf.gather(weights, first) * tf.gather(weights, second),
    }


def _map_keypoints(
    example: dict[str, Tensor], matrix: Tensor, mirror: Tensor, skeleton: Skeleton
) -> tuple[Tensor, Tensor]:
    """Keypoints ``[N, K, 3]`` in input pixels and their weights ``[K]``; in a mirrored picture left is right."""
    import tensorflow as tf

    source = example["people/keypoints"]
    keypoints = tf.concat([transform_points(source[..., :2], matrix), source[..., 2:]], axis=-1)
    order = tf.where(mirror, list(skeleton.flips), list(range(skeleton.num_keypoints)))
    return tf.gather(keypoints, order, axis=1), tf.gather(example["keypoint_weights"], order)


def _people_in_view_first(keypoints: Tensor, side: int) -> Tensor:
    """Indices of people by how many of their keypoints are in the input, most first; ties keep their order."""
    import tensorflow as tf

    inside = tf.reduce_all((keypoints[..., :2] >= 0) & (keypoints[..., :2] < side), axis=-1) & (keypoints[..., 2] > 0)
    count = tf.reduce_sum(tf.cast(inside, tf.int32), axis=-1)
    return tf.math.top_k(count, k=tf.shape(count)[0]).indices


def _largest(boxes: Tensor, count: int) -> Tensor:
    import tensorflow as tf

    areas = boxes[:, 2] * boxes[:, 3]
    return tf.gather(boxes, tf.math.top_k(areas, k=tf.minimum(count, tf.shape(areas)[0])).indices)


def _pad(values: Tensor, count: int) -> Tensor:
    import tensorflow as tf

    padding = [[0, count - tf.shape(values)[0]], *[[0, 0]] * (len(values.shape) - 1)]
    return tf.ensure_shape(tf.pad(values, padding), [count, *values.shape[1:]])


def render_mask(
    example: dict[str, Tensor], unknown: Tensor, picture: Tensor, matrix: Tensor, cells: int, stride: int
) -> Tensor:
    """Where the loss counts, at the resolution of the fields: each cell's centre is looked up in the source picture.

    A cell is 0 inside a box of `unknown`, under the record's own mask, and, where only some people are labelled, away
    from all of these. Padding around the picture is 1: it shows nobody for certain.

    Args:
        example: from `parse_example`.
        unknown: float32 ``[M, 4]`` boxes in source pixels in which the labels say nothing.
        picture: float32 ``[2]`` width and height; matrix: source to input pixels.

    Returns:
        uint8 ``[cells, cells, 1]``.
    """
    import tensorflow as tf

    centers = tf.range(cells, dtype=tf.float32) * stride + (stride - 1) / 2
    grid = tf.stack(tf.meshgrid(centers, centers), axis=-1)
    points = transform_points(tf.reshape(grid, [-1, 2]), invert(matrix))
    hidden = tf.reduce_any(_inside(points[:, None], unknown[None]), axis=1)
    hidden |= _outside_of_labelled(points, example) | _under_mask(points, example["mask/encoded"])
    hidden &= tf.reduce_all((points >= -0.5) & (points < picture - 0.5), axis=-1)
    return tf.reshape(1 - tf.cast(hidden, tf.uint8), [cells, cells, 1])


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    import tensorflow as tf

    return tf.reduce_all((points >= boxes[..., :2]) & (points <= boxes[..., :2] + boxes[..., 2:]), axis=-1)


def _outside_of_labelled(points: Tensor, example: dict[str, Tensor]) -> Tensor:
    """Whether the picture may show unlabelled people and the point is not near labelled ones."""
    import tensorflow as tf

    boxes = example["people/boxes"]
    # Without anybody the least corner is infinite: then nothing is near.
    low, high = tf.reduce_min(boxes[:, :2], axis=0), tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
    margin = _MARGIN * tf.reduce_max(high - low)
    near = tf.reduce_all((points >= low - margin) & (points <= high + margin), axis=-1)
    return (example["only_labelled"] > 0) & ~near


def _under_mask(points: Tensor, png: Tensor) -> Tensor:
    import tensorflow as tf

    def looked_up() -> Tensor:
        mask = tf.io.decode_png(png, channels=1)[..., 0]
        last = tf.shape(mask)[::-1] - 1
        nearest = tf.clip_by_value(tf.cast(tf.round(points), tf.int32), 0, last)
        return tf.gather_nd(mask, nearest[:, ::-1]) > 0

    return tf.cond(tf.strings.length(png) > 0, looked_up, lambda: tf.zeros(tf.shape(points)[:1], tf.bool))
