"""TFRecord shards to batches by tf.data: static shapes, and batch ``i`` depends on the seed and ``i`` only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.cores import limited_cores
from shared.errors import YaopError
from shared.skeleton import Skeleton
from trainer import storage
from trainer.data.augment import AugmentOptions, pick_options, stack_options

Dataset = Any
Tensor = Any


class PipelineError(YaopError):
    """Records or options that no batch can be made of; the message says what would be right."""


@dataclass(frozen=True)
class PipelineOptions:
    """Sizes of a batch and how it is made.

    Attributes:
        side: width and height of the network input, in pixels.
        batch: samples in a global batch, over all replicas and workers.
        max_people: people per sample at most; regions of further ones are masked.
        max_ignored: boxes of unlabelled people and crowds per picture at most, the largest.
        threads: that make samples; 0 leaves it to tf.data.
        shuffle: records in each source's shuffle buffer.
        cycle: shards of each source that are read side by side.
    """

    side: int = 256
    batch: int = 16
    max_people: int = 16
    max_ignored: int = 48
    threads: int = 0
    shuffle: int = 512
    cycle: int = 4


class Source(NamedTuple):
    """A folder (or ``gs://`` address) of records, how often it is drawn relative to others, and how it is varied."""

    folder: str
    weight: float
    augment: AugmentOptions


class Batch(NamedTuple):
    """What the accelerator gets; targets are rendered there. The elements of the data set are dicts with these keys.

    images uint8 ``[B, S, S, 3]``; keypoints float32 ``[B, N, K, 3]`` (x, y, visibility; zeros where there are fewer
    people) and sizes float32 ``[B, N]``, the long sides of their boxes, both in input pixels; mask uint8
    ``[B, h, w, 1]`` at the resolution of the fields, 1 where the loss counts; keypoint_weights float32 ``[B, K]`` and
    limb_weights float32 ``[B, L]``, 0 for what the sample's data set does not label.
    """

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    sizes: NDArray[np.float32]
    mask: NDArray[np.uint8]
    keypoint_weights: NDArray[np.float32]
    limb_weights: NDArray[np.float32]


def make_dataset(
    sources: Sequence[Source],
    options: PipelineOptions,
    skeleton: Skeleton,
    *,
    stride: int,
    seed: int,
    start: int = 0,
    worker: tuple[int, int] = (0, 1),
    batch: int | None = None,
) -> Dataset:
    """An endless `tf.data.Dataset` of batches, in a fixed order.

    Args:
        stride: input pixels per cell of the fields.
        seed: of order and augmentation, 0 or more.
        start: number of the first batch, to go on with a run.
        worker: index and count of this process; each gets its slice of every global batch, so that all slices
            together are what one process would get. Every worker reads all records and decodes its own.
        batch: size of the global batch, if not the options'.

    Returns:
        dicts with the keys of `Batch`, whose first dimension is the global batch divided by the workers.

    Raises:
        PipelineError: options contradict each other, or records are not of this skeleton or lack a shard.
        RecordsError: a folder has no (usable) manifest.
        StorageError: a folder cannot be read.
    """
    import tensorflow as tf

    from trainer.data.sample import make_sample
    from trainer.data.stream import Order, derive_key, mixed_records

    size = options.batch if batch is None else batch
    check_options(options, stride=stride, seed=seed, start=start, worker=worker, batch=size)
    drawn = [source for source in sources if source.weight != 0]
    _check_weights(drawn)
    shards = [find_shards(source.folder, skeleton) for source in drawn]
    key, local = derive_key(seed, 2), size // worker[1]
    with tf.device("CPU:0"):  # else constants land on an accelerator and are fetched back for each sample
        table = stack_options([source.augment for source in drawn])

        def sample(index: Tensor, source: Tensor, serialized: Tensor) -> dict[str, Tensor]:
            seeds = tf.stack([tf.constant(key, tf.int64), index])
            return make_sample(serialized, seeds, pick_options(table, source), options, skeleton, stride)

        order = Order(options.cycle, options.shuffle)
        weights = [source.weight for source in drawn]
        records = mixed_records(shards, weights, order, seed=seed, start=start * size)
        if worker[1] > 1:
            records = records.filter(lambda index, *_: index % size // local == worker[0])
        samples = records.map(sample, num_parallel_calls=options.threads or tf.data.AUTOTUNE, deterministic=True)
        batches = samples.batch(local, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        return batches.with_options(_dataset_options(options))


def _dataset_options(options: PipelineOptions) -> Any:
    import tensorflow as tf

    result = tf.data.Options()
    result.deterministic = True
    # The slices are made above; tf.distribute must not cut them again.
    result.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    if threads := options.threads or limited_cores():
        result.threading.private_threadpool_size = threads
    return result


def check_options(
    options: PipelineOptions, *, stride: int, seed: int, start: int, worker: tuple[int, int], batch: int
) -> None:
    """Refuse what contradicts itself, before anything is read.

    Raises:
        PipelineError: with the field and what would be right.
    """
    index, workers = worker
    if options.side < 1 or options.side % stride:
        raise PipelineError(f"pipeline.side {options.side} is not a multiple of the network's stride {stride}")
    if batch < 1 or workers < 1 or batch % workers:
        raise PipelineError(f"pipeline.batch {batch} is not a multiple of the {workers} workers")
    if not 0 <= index < workers:
        raise PipelineError(f"worker {index} of {workers}: it must be 0 to {workers - 1}")
    least = {"max_people": 1, "max_ignored": 0, "threads": 0, "shuffle": 1, "cycle": 1}
    for name, bound in least.items():
        if getattr(options, name) < bound:
            raise PipelineError(f"pipeline.{name} is {getattr(options, name)}; it must be at least {bound}")
    if seed < 0 or start < 0:
        raise PipelineError(f"seed {seed} and start {start} must not be negative")


def _check_weights(sources: Sequence[Source]) -> None:
    if not sources:
        raise PipelineError("no sources to draw from: give at least one a weight above 0")
    for source in sources:
        if not (source.weight > 0 and math.isfinite(source.weight)):
            raise PipelineError(f"{source.folder}: weight {source.weight}; it must be 0 or more")


def find_shards(folder: str, skeleton: Skeleton) -> Any:
    """The `Shards` of a folder of records.

    Raises:
        PipelineError: they are of another skeleton, hold nothing, or a shard is missing.
        RecordsError: there is no usable manifest.
    """
    from trainer.data.records import read_manifest
    from trainer.data.stream import Shards

    manifest = read_manifest(folder)
    if tuple(manifest.keypoints) != skeleton.keypoints:
        raise PipelineError(
            f"{folder}: records of skeleton {manifest.skeleton} with {len(manifest.keypoints)} keypoints, the recipe's"
            f" is {skeleton.name} with {skeleton.num_keypoints}; run `yaop train records` again"
        )
    pictures = sum(shard.pictures for shard in manifest.shards)
    if not pictures:
        raise PipelineError(f"{folder}: the records hold no picture")
    there = set(storage.list_folder(folder))
    missing = [shard.name for shard in manifest.shards if shard.name not in there]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise PipelineError(f"{folder}: {missing[0]}{more} missing; run `yaop train records` again")
    paths = tuple(storage.join(folder, shard.name) for shard in manifest.shards if shard.pictures)
    return Shards(paths, pictures)
