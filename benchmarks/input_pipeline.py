"""How many samples a second the input pipeline makes, alone, and what its stages cost.

python -m benchmarks.input_pipeline [--records DIR] [--side 256] [--batch 16] [--samples 400] [--json FILE]

DIR holds a manifest and shards (`yaop train records`); without it, records are made of packaged photographs, 512
pixels on the long side. CPU time is all threads' together, and holds on a busy machine too; images/s do not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from shared.skeleton import BODY_18
from tests import photos
from tests.records_fixture import make_record, write_folder
from trainer.data.augment import AugmentOptions, draw, draw_affine
from trainer.data.picture import decode_and_warp
from trainer.data.pipeline import PipelineOptions, Source, find_shards, make_dataset
from trainer.data.sample import parse_example
from trainer.data.stream import Order, mixed_records

LONG_SIDE = 512
STRIDE = 4
AUGMENT = AugmentOptions()


@dataclass(frozen=True)
class StageCost:
    """A stage together with those before it.

    Attributes:
        images_per_second: by the clock.
        cpu_ms: CPU time for one image in milliseconds, all threads.
    """

    name: str
    images_per_second: float
    cpu_ms: float


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", help="folder of records")
    parser.add_argument("--side", type=int, default=256, help="of the network input")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    options = PipelineOptions(side=arguments.side, batch=arguments.batch, threads=arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        records = arguments.records or synthetic_records(Path(folder))
        costs = pipeline_costs(records, options, arguments.samples)
    sys.stdout.write(_report(costs))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")


def synthetic_records(folder: Path, count: int = 32) -> str:
    """A folder of records of packaged photographs, turned and cut so that no two files are alike."""
    pictures = [photos.astronaut(), photos.grace_hopper(), photos.group(3), photos.nobody()]
    records = []
    for number in range(count):
        picture = pictures[number % len(pictures)][number // 4 :]
        scale = LONG_SIDE / max(picture.shape[:2])
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        height, width = picture.shape[:2]
        boxes = [[width * 0.2, height * 0.1, width * 0.6, height * 0.8]] * (1 + number % 4)
        records.append(make_record(folder / "pictures" / f"{number}.jpg", picture, boxes))
    return write_folder(folder / "records", records, shard_size=8)


def pipeline_costs(records: str, options: PipelineOptions, samples: int) -> list[StageCost]:
    """Cost of reading, of reading and warping, and of whole batches."""
    batches = max(1, samples // options.batch)
    whole = make_dataset([Source(records, 1, AUGMENT)], options, BODY_18, stride=STRIDE, seed=0)
    return [
        _measure("read", _read(records, options), samples, 1),
        _measure("read, decode, warp", _warped(records, options), samples, 1),
        _measure("whole batches", whole, batches, options.batch),
    ]


def _read(records: str, options: PipelineOptions) -> Any:
    order = Order(options.cycle, options.shuffle)
    return mixed_records([find_shards(records, BODY_18)], [1.0], order, seed=0, start=0)


def _warped(records: str, options: PipelineOptions) -> Any:
    import tensorflow as tf

    def warped(index: Any, _: Any, serialized: Any) -> Any:
        example = parse_example(serialized, BODY_18.num_keypoints)
        picture = tf.cast(tf.stack([example["image/width"], example["image/height"]]), tf.float32)
        draws = draw(tf.stack([tf.constant(0, tf.int64), index]))
        matrix, *_ = draw_affine(example["people/boxes"], picture, options.side, AUGMENT, draws)
        return decode_and_warp(example["image/encoded"], matrix, options.side)

    parallel = options.threads or tf.data.AUTOTUNE
    return _read(records, options).map(warped, num_parallel_calls=parallel, deterministic=True)


def _measure(name: str, dataset: Iterable[Any], elements: int, images: int) -> StageCost:
    """Time so many elements, after a few that start threads and fill buffers."""
    iterator: Iterator[Any] = iter(dataset)
    for _ in range(max(2, 32 // images)):
        next(iterator)
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(elements):
        next(iterator)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    return StageCost(name, elements * images / seconds, cpu_seconds / (elements * images) * 1000)


def _report(costs: list[StageCost]) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    rows = [f"| {cost.name} | {cost.images_per_second:.0f} | {cost.cpu_ms:.1f} |" for cost in costs]
    table = ["| stages | images/s | CPU ms per image |", "|---|---|---|", *rows]
    return "\n".join([f"{os.cpu_count()} cores, load average {load}", "", *table, ""])


if __name__ == "__main__":
    main()
