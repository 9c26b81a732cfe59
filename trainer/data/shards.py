"""TFRecord shards, each written by one process."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

from pydantic import BaseModel

from shared.errors import ImageError, YaopError
from shared.skeleton import Skeleton
from trainer import storage
from trainer.data.coco import Record
from trainer.data.examples import JPEG_QUALITY, StoredPicture, store_picture, to_example
from trainer.data.findings import Finding, FindingsLog

FORMAT = 1
"""Version of what a shard holds; records of another are written anew."""

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""

_POLL = 0.2  # seconds between two looks at the workers' count


class RecordsError(YaopError):
    """Records that are missing, damaged or cannot be written; the message begins with their place."""


class Shard(BaseModel):
    """A TFRecord file, as the manifest describes it.

    Attributes:
        name: of the file.
        pictures, people, ignored: what is in it.
        bytes, sha256: of the file.
        source: digest of all that it was made from.
        findings: pictures that were left out.
    """

    name: str
    pictures: int
    people: int
    ignored: int
    bytes: int
    sha256: str
    source: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ShardJob:
    """A shard to write: its folder and name, what goes in, and the digest of that."""

    folder: str
    name: str
    records: Sequence[Record]
    max_side: int
    source: str


def plan_shard(folder: str, name: str, records: Sequence[Record], skeleton: Skeleton, max_side: int) -> ShardJob:
    """The job for these records. Its digest changes with the labels, the options and the picture files."""
    options = (FORMAT, JPEG_QUALITY, skeleton.name, skeleton.keypoints, max_side)
    digest = hashlib.sha256(json.dumps(options).encode())
    for record in records:
        texts = (record.name, record.size, record.only_labelled, record.segmentations, _stamp(record.image))
        digest.update(json.dumps(texts).encode())
        for array in (record.keypoints, record.boxes, record.areas, record.ignored, record.keypoint_weights):
            digest.update(f"{array.shape}".encode() + array.tobytes())
    return ShardJob(folder, name, records, max_side, digest.hexdigest())


def write_shards(jobs: Sequence[ShardJob], workers: int, progress: Callable[[int], None]) -> Iterator[Shard]:
    """Write shards in so many processes; yields each when it is there.

    Args:
        progress: called with the number of pictures done.

    Raises:
        StorageError, RecordsError: a shard cannot be written.
    """
    if min(workers, len(jobs)) <= 1:
        done = 0
        for job in jobs:
            yield _write_shard(job, lambda count, before=done: progress(before + count))
            done += len(job.records)
        return
    context = get_context("spawn")  # TensorFlow and OpenCV have threads, which a fork would lose
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _start_worker, (counter,))
    try:
        pending = {pool.submit(_write_in_worker, job) for job in jobs}
        while pending:
            done_now, pending = wait(pending, _POLL, FIRST_COMPLETED)
            progress(counter.value)
            yield from (future.result() for future in done_now)
    except BrokenProcessPool as error:
        raise RecordsError(
            f"{jobs[0].folder}: a worker process was killed (out of memory?); run it again to go on, with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


_counter: Any = None


def _start_worker(counter: Any) -> None:
    global _counter  # noqa: PLW0603 - a shared counter reaches a worker through its initialiser only
    _counter = counter
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    Thread(target=_end_with_parent, daemon=True).start()
    _import_tensorflow_quietly()


def _import_tensorflow_quietly() -> None:
    """TensorFlow greets on standard error, before it can be told not to, and once is enough."""
    screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf

        _ = tf.train.Example
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)


def _end_with_parent() -> None:
    """A parent that is killed cannot tell its workers to end."""
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _write_in_worker(job: ShardJob) -> Shard:
    def count(_: int) -> None:
        with _counter.get_lock():
            _counter.value += 1

    return _write_shard(job, count)


def _write_shard(job: ShardJob, progress: Callable[[int], None]) -> Shard:
    log = FindingsLog()
    written: list[Record] = []
    examples = _examples(job, written, log, progress)
    try:
        content = _framed(examples)
    except OSError as error:
        raise RecordsError(f"{job.folder}: {error.strerror or error}") from error
    storage.write_bytes(storage.join(job.folder, job.name), content)
    return Shard(
        name=job.name,
        pictures=len(written),
        people=sum(len(record.boxes) for record in written),
        ignored=sum(len(record.ignored) + len(record.segmentations) for record in written),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        source=job.source,
        findings=tuple(log.findings),
    )


def _examples(
    job: ShardJob, written: list[Record], log: FindingsLog, progress: Callable[[int], None]
) -> Iterator[bytes]:
    for count, record in enumerate(job.records, 1):
        if picture := _picture(record, job.max_side, log):
            written.append(record)
            yield to_example(record, picture)
        progress(count)


def _picture(record: Record, max_side: int, log: FindingsLog) -> StoredPicture | None:
    try:
        picture = store_picture(record.image.read_bytes(), max_side)
    except (ImageError, OSError) as error:
        log.add("picture broken", f"{record.name}: {error}")
        return None
    if picture.upright != record.size:
        sizes = " x ".join(map(str, picture.upright)), " x ".join(map(str, record.size))
        log.add("picture of another size", f"{record.name}: {sizes[0]}, labelled at {sizes[1]}")
        return None
    return picture


def _framed(examples: Iterator[bytes]) -> bytes:
    """A TFRecord file. TensorFlow writes one to a path only, and ours must appear whole in any storage."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory(prefix="yaop-records-") as folder:
        path = Path(folder, "shard")
        try:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for example in examples:
                    writer.write(example)
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
        return path.read_bytes()
