"""A data set as TFRecord shards and a manifest, in a folder or a bucket.

A shard appears whole or not at all; the manifest, with the counts and checksums of all, comes last. Until then the
shards that are done are noted in a file of their own, so that the same call after a kill writes only what is missing.
A shard whose labels, options and picture files did not change is never written twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.cores import usable_cores
from shared.skeleton import Skeleton
from trainer import storage
from trainer.data.coco import Record
from trainer.data.findings import DatasetReport
from trainer.data.shards import FORMAT, Progress, RecordsError, Shard, ShardJob, plan_shard, write_shards

__all__ = [
    "MANIFEST",
    "RecordsError",
    "RecordsManifest",
    "Shard",
    "prepare_folder",
    "read_manifest",
    "verify_records",
    "write_records",
]

MANIFEST = "manifest.json"

_UNFINISHED = "manifest.partial.json"
_OURS = re.compile(
    r"part-\d{5}-of-\d{5}\.tfrecord|\.(part-|manifest\.|probe).*"
)  # shards; what a kill left half-written
_READERS = 4  # threads that compare shards with their checksums
_SHARDS = TypeAdapter(list[Shard])


class RecordsManifest(BaseModel):
    """What a folder of records holds.

    Attributes:
        format: version of the shards' content.
        skeleton, keypoints: its name and the order of the keypoints.
        max_side: pictures with a longer side were shrunk to it; 0 for none.
        pictures, people, ignored: in all shards.
        shards: the files.
        report: where the data came from, and what of it was mended or left out.
    """

    format: int = FORMAT
    skeleton: str
    keypoints: tuple[str, ...]
    max_side: int
    pictures: int
    people: int
    ignored: int
    shards: tuple[Shard, ...]
    report: DatasetReport


def write_records(
    records: Sequence[Record],
    folder: str,
    *,
    skeleton: Skeleton,
    shard_size: int = 1000,
    workers: int = 0,
    progress: Progress | None = None,
    max_side: int = 0,
    report: DatasetReport | None = None,
) -> RecordsManifest:
    """Write records in a shuffled but fixed order; goes on where a broken-off call stopped.

    Args:
        folder: a local one or a ``gs://`` address.
        shard_size: pictures in a shard.
        workers: processes; 0 for one on each CPU.
        max_side: pictures with a longer side are shrunk to it, labels with them; 0 keeps all as they are.
        report: of `load_dataset`, for the manifest.

    Returns:
        the manifest, which is in the folder then.

    Raises:
        RecordsError: nothing to write, or more than half of the pictures are unusable.
        StorageError: the folder cannot be written.
    """
    if not records:
        raise RecordsError(f"{folder}: there are no pictures to write")
    prepare_folder(folder)
    jobs = _plan(records, folder, skeleton, shard_size, max_side)
    done = _intact_shards(jobs, folder)
    missing = [job for job in jobs if job.name not in done]
    if missing:
        _note_unfinished(folder, done.values())
    kept = len(records) - sum(len(job.records) for job in missing)
    tell = progress or (lambda done, total: None)
    tell(kept, len(records))
    for shard in write_shards(missing, workers or usable_cores(), lambda n: tell(kept + n, len(records))):
        done[shard.name] = shard
        _write(folder, _UNFINISHED, _SHARDS.dump_json(list(done.values())))
    tell(len(records), len(records))
    shards = [done[job.name] for job in jobs]
    manifest = _manifest(shards, skeleton, max_side, report or DatasetReport(listed=len(records)), folder)
    _finish(folder, manifest)
    return manifest


def prepare_folder(folder: str) -> None:
    """Make the folder and prove that it can be written to.

    Raises:
        StorageError: it cannot.
    """
    storage.make_folder(folder)
    probe = storage.join(folder, ".probe")
    storage.write_bytes(probe, b"")
    storage.remove(probe)


def read_manifest(folder: str) -> RecordsManifest:
    """The manifest of a folder of records.

    Raises:
        RecordsError: there is none, or it is not one.
        StorageError: it cannot be read.
    """
    path = storage.join(folder, MANIFEST)
    if not storage.exists(path):
        state = "unfinished records" if storage.exists(storage.join(folder, _UNFINISHED)) else "no records"
        raise RecordsError(f"{folder}: {state} here; `yaop train records` writes them")
    try:
        manifest = RecordsManifest.model_validate_json(storage.read_bytes(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise RecordsError(f"{path}: {where}: {problem['msg']}; run `yaop train records` again") from error
    if manifest.format != FORMAT:
        raise RecordsError(f"{path}: format {manifest.format}, not {FORMAT}; run `yaop train records` again")
    return manifest


def verify_records(folder: str) -> None:
    """Read every shard and compare it with the manifest: size, sha256, TFRecord checksums, counts.

    Raises:
        RecordsError: they differ; the message begins with the shard.
        StorageError: a shard is missing or cannot be read.
    """
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        location = storage.join(folder, shard.name)
        problem = _difference(storage.read_bytes(location), shard) or _content_problem(location, shard)
        if problem:
            raise RecordsError(f"{location}: {problem}; run `yaop train records` again")


def _plan(records: Sequence[Record], folder: str, skeleton: Skeleton, shard_size: int, max_side: int) -> list[ShardJob]:
    # A reader's shuffle buffer is smaller than a data set, and neighbours in a data set are alike.
    order = np.random.default_rng(0).permutation(len(records)).tolist()
    groups = [order[start : start + shard_size] for start in range(0, len(order), shard_size)]
    return [
        plan_shard(
            folder,
            f"part-{number:05d}-of-{len(groups):05d}.tfrecord",
            [records[index] for index in group],
            skeleton,
            max_side,
        )
        for number, group in enumerate(groups)
    ]


def _intact_shards(jobs: Sequence[ShardJob], folder: str) -> dict[str, Shard]:
    """Shards of an earlier call that are as these jobs would write them, by name."""
    earlier = {(shard.name, shard.source): shard for shard in _earlier_shards(folder)}
    there = set(storage.list_folder(folder))
    known = [earlier[job.name, job.source] for job in jobs if (job.name, job.source) in earlier and job.name in there]
    with ThreadPoolExecutor(_READERS) as pool:
        intact = pool.map(
            lambda shard: not _difference(storage.read_bytes(storage.join(folder, shard.name)), shard), known
        )
        return {shard.name: shard for shard, good in zip(known, intact, strict=True) if good}


def _earlier_shards(folder: str) -> list[Shard]:
    """What the manifests of earlier calls, finished or not, say; damaged ones say nothing."""
    shards: list[Shard] = []
    for name in (MANIFEST, _UNFINISHED):
        path = storage.join(folder, name)
        if not storage.exists(path):
            continue
        content = storage.read_bytes(path)
        try:
            shards += _SHARDS.validate_json(content) if name == _UNFINISHED else _shards_of(content)
        except ValidationError:
            continue
    return shards


def _shards_of(manifest: bytes) -> Iterable[Shard]:
    return RecordsManifest.model_validate_json(manifest).shards


def _difference(content: bytes, shard: Shard) -> str | None:
    if len(content) != shard.bytes:
        return f"{len(content)} bytes, the manifest says {shard.bytes}"
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        return "its sha256 is not the manifest's"
    return None


def _content_problem(location: str, shard: Shard) -> str | None:
    import tensorflow as tf

    pictures = people = 0
    try:
        with tf.device("/CPU:0"):
            for example in tf.data.TFRecordDataset(location).as_numpy_iterator():
                pictures += 1
                features = tf.train.Example.FromString(example).features.feature
                people += len(features["people/areas"].float_list.value)
    except tf.errors.OpError as error:
        return f"picture {pictures + 1} cannot be read ({' '.join(error.message.split())})"
    if (pictures, people) != (shard.pictures, shard.people):
        return f"{pictures} pictures and {people} people, the manifest says {shard.pictures} and {shard.people}"
    return None


def _manifest(
    shards: Sequence[Shard], skeleton: Skeleton, max_side: int, report: DatasetReport, folder: str
) -> RecordsManifest:
    findings = [finding for shard in shards for finding in shard.findings]
    pictures, people, ignored = (
        sum(values) for values in zip(*((s.pictures, s.people, s.ignored) for s in shards), strict=True)
    )
    if len(findings) > pictures:
        first = findings[0]
        total = pictures + len(findings)
        raise RecordsError(f"{folder}: {len(findings)} of {total} pictures are unusable; first: {first.where}")
    return RecordsManifest(
        skeleton=skeleton.name,
        keypoints=skeleton.keypoints,
        max_side=max_side,
        pictures=pictures,
        people=people,
        ignored=ignored,
        shards=tuple(shards),
        report=report.written(pictures, people, ignored, findings),
    )


def _note_unfinished(folder: str, shards: Iterable[Shard]) -> None:
    """From now on the folder's manifest does not hold; what of it stays is noted."""
    _write(folder, _UNFINISHED, _SHARDS.dump_json(list(shards)))
    storage.remove(storage.join(folder, MANIFEST))


def _finish(folder: str, manifest: RecordsManifest) -> None:
    path, content = storage.join(folder, MANIFEST), manifest.model_dump_json(indent=1).encode()
    if not storage.exists(path) or storage.read_bytes(path) != content:
        storage.write_bytes(path, content)
    names = {shard.name for shard in manifest.shards}
    left_over = [name for name in storage.list_folder(folder) if _OURS.fullmatch(name) and name not in names]
    for name in (_UNFINISHED, *left_over):
        storage.remove(storage.join(folder, name))


def _write(folder: str, name: str, content: bytes) -> None:
    storage.write_bytes(storage.join(folder, name), content)
