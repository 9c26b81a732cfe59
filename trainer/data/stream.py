"""The order in which records are read: endless, shuffled, and known in advance, so that it can go on anywhere.

Sample ``i`` of a run comes from a source that is drawn by (seed, i) alone. Each source is read in epochs; in epoch
``e`` its shards are opened in an order drawn by (seed, source, e), and records pass through a buffer that mixes them
by the same draw. To start in the middle, the draws before it are counted, whole epochs are left out, and what is left
of one is read but not decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.storage import is_remote

Tensor = Any
Dataset = Any

_FOREVER = np.iinfo(np.int64).max
_CHUNK = 1 << 14  # sources are drawn for so many samples at once
_READ_AHEAD = 8 << 20  # bytes of a shard in a bucket; a local disk needs no more than the default
_SHUFFLE_BITS = 62


class Shards(NamedTuple):
    """The files of one source, and how many records are in all of them together."""

    paths: tuple[str, ...]
    pictures: int


class Order(NamedTuple):
    """How records are mixed: shards read side by side, and records in the shuffle buffer."""

    cycle: int
    shuffle: int


def derive_key(seed: int, *purpose: int) -> int:
    """A 63-bit key that is different for each seed and purpose."""
    return int(np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)[0] >> 1)


def mixed_records(
    sources: Sequence[Shards], weights: Sequence[float], order: Order, *, seed: int, start: int
) -> Dataset:
    """Endless ``(i, source, serialized example)`` from sample `start` on: int64, int64 and string scalars."""
    import tensorflow as tf

    key = derive_key(seed, 0)
    given = count_draws(weights, key, start)
    streams = [
        source_records(shards, order, key=derive_key(seed, 1, number), skip=int(given[number]))
        for number, shards in enumerate(sources)
    ]
    choices = _choices(weights, key, start)
    examples = tf.data.Dataset.choose_from_datasets(streams, choices)
    return tf.data.Dataset.zip((tf.data.Dataset.range(start, _FOREVER), choices, examples))


def source_records(shards: Shards, order: Order, *, key: int, skip: int) -> Dataset:
    """The serialized examples of one source, epoch after epoch, without the first `skip`."""
    import tensorflow as tf

    first, rest = divmod(skip, shards.pictures)
    ahead = _READ_AHEAD if is_remote(shards.paths[0]) else None

    def epoch(number: Tensor) -> Dataset:
        draws = tf.random.stateless_uniform(
            [2 + len(shards.paths)], tf.stack([tf.constant(key, tf.int64), number]),
            0, 1 << _SHUFFLE_BITS, tf.int64, alg="philox",
        )  # fmt: skip
        paths = tf.data.Dataset.from_tensor_slices(tf.gather(shards.paths, tf.argsort(draws[2:])))
        cycle = min(order.cycle, len(shards.paths))
        records = paths.interleave(
            lambda path: tf.data.TFRecordDataset(path, buffer_size=ahead),
            cycle_length=cycle, block_length=1, num_parallel_calls=cycle, deterministic=True,
        )  # fmt: skip
        return _shuffled(records, min(order.shuffle, shards.pictures), draws[:2])

    return tf.data.Dataset.range(first, _FOREVER).flat_map(epoch).skip(rest)


def _shuffled(records: Dataset, buffer: int, seeds: Tensor) -> Dataset:
    """`Dataset.shuffle` by these two seeds and nothing else: the method itself mixes TensorFlow's global seed in."""
    import tensorflow as tf

    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(records),
        buffer_size=max(1, buffer), seed=seeds[0], seed2=seeds[1],
        output_types=[tf.string], output_shapes=[[]], reshuffle_each_iteration=False,
    )  # fmt: skip
    return tf.data.experimental.from_variant(variant, records.element_spec)


def count_draws(weights: Sequence[float], key: int, samples: int) -> NDArray[np.int64]:
    """How many of the first so many samples each source gave."""
    counts = np.zeros(len(weights), np.int64)
    if len(weights) == 1:
        return counts + samples
    chunks, rest = divmod(samples, _CHUNK)
    for chunk in range(chunks + 1):
        drawn = np.asarray(_draw_sources(weights, key, chunk))
        counts += np.bincount(drawn if chunk < chunks else drawn[:rest], minlength=len(weights))
    return counts


def _draw_sources(weights: Sequence[float], key: int, chunk: Tensor) -> Tensor:
    """The sources of the samples of one chunk, int64 ``[_CHUNK]``."""
    import tensorflow as tf

    bounds = np.cumsum(weights)[:-1] / np.sum(weights)
    seed = tf.stack([tf.constant(key, tf.int64), tf.cast(chunk, tf.int64)])
    numbers = tf.random.stateless_uniform([_CHUNK], seed, alg="philox")
    return tf.searchsorted(tf.constant(bounds, tf.float32), numbers, side="right", out_type=tf.int64)


def _choices(weights: Sequence[float], key: int, start: int) -> Dataset:
    import tensorflow as tf

    chunk, rest = divmod(start, _CHUNK)
    drawn = tf.data.Dataset.range(chunk, _FOREVER).map(lambda number: _draw_sources(weights, key, number))
    return drawn.unbatch().skip(rest)
