"""What a training step costs, and what of it is not the network: ``python -m benchmarks.train_step``.

Side by side, on records of packaged photographs: the network alone (forward, loss, backward on targets that are
there), the whole step on a batch that is there (with drawing the targets, the update and the running average), and
the loop as it trains (with making the batch). Then the input pipeline alone. The first phase of the recipe is taken,
whose frozen trunk makes it the fastest one, so shares are the worst there are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.input_pipeline import AUGMENT, pipeline_costs, synthetic_records
from benchmarks.timing import side_by_side
from shared.skeleton import BODY_18
from trainer.data.pipeline import Source, make_dataset
from trainer.distribution import Distribution, open_distribution
from trainer.fit import build_network
from trainer.objective import Objective, network_input
from trainer.optimizer import make_optimizer
from trainer.recipe import Recipe, load_recipe
from trainer.steps.state import StepOptions
from trainer.steps.tensorflow import TensorflowStep

STRIDE = 4


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="mobilenet_fpn")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    recipe = dataclasses.replace(load_recipe(arguments.recipe), initial=None)
    devices = open_distribution("cpu")
    with tempfile.TemporaryDirectory() as folder:
        numbers = _measure(recipe, synthetic_records(Path(folder)), devices, arguments.runs)
    sys.stdout.write(_table(numbers))
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")


def _measure(recipe: Recipe, records: str, devices: Distribution, runs: int) -> dict[str, float]:
    batches: Iterator[Any] = iter(
        make_dataset([Source(records, 1, AUGMENT)], recipe.pipeline, BODY_18, stride=STRIDE, seed=0)
    )
    network, phase = build_network(recipe), recipe.phases[0]
    for layer in network.layers:
        layer.trainable = layer.trainable and not layer.name.startswith(phase.frozen)
    objective = Objective(BODY_18, STRIDE, recipe.targets, recipe.losses)
    optimizer = make_optimizer(recipe, phase, [variable.path for variable in network.trainable_variables])
    step = TensorflowStep(network, objective, StepOptions(optimizer, recipe.average), devices)
    ready = next(batches)

    def wait_for(losses: Any) -> float:
        return float(losses[0])

    timings = side_by_side(
        {
            "network": _network_alone(network, objective, ready),
            "step": lambda: wait_for(step(ready, 1e-6)),
        },
        runs,
    )
    begin = time.perf_counter()
    for _ in range(runs):  # in turns with the others, the pipeline would have time to run ahead
        wait_for(step(next(batches), 1e-6))
    loop = (time.perf_counter() - begin) / runs * 1000
    whole = pipeline_costs(records, recipe.pipeline, 320)[-1]
    network_ms, batch = timings["network"].median, recipe.pipeline.batch
    return {
        "batch": batch, "side": recipe.pipeline.side, "network_ms": network_ms, "step_ms": timings["step"].median,
        "loop_ms": loop, "overhead": loop / network_ms - 1, "consumed_per_second": batch / loop * 1000,
        "pipeline_per_second": whole.images_per_second,
        "pipeline_ratio": whole.images_per_second / (batch / loop * 1000),
    }  # fmt: skip


def _network_alone(network: Any, objective: Objective, batch: Any) -> Any:
    import tensorflow as tf

    rendered = objective.render(batch)
    weights = network.trainable_variables

    @tf.function
    def run() -> Any:
        with tf.GradientTape() as tape:
            outputs = network(network_input(batch), training=True)
            loss = sum(objective.losses_of(outputs, rendered, batch, 1.0))
        return tape.gradient(loss, [weight.value for weight in weights])

    def call() -> Any:
        return run()[-1].numpy()

    return call


def _table(numbers: dict[str, float]) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"""{os.cpu_count()} cores, load average {load}; batch {numbers["batch"]:.0f}, side {numbers["side"]:.0f}

| | ms |
|---|---|
| network alone: forward, loss, backward | {numbers["network_ms"]:.0f} |
| whole step on a ready batch | {numbers["step_ms"]:.0f} |
| loop, with the input pipeline | {numbers["loop_ms"]:.0f} |

Overhead outside the network: {numbers["overhead"]:.0%}.
The pipeline alone makes {numbers["pipeline_per_second"]:.0f} images/s, the loop takes \
{numbers["consumed_per_second"]:.1f}: {numbers["pipeline_ratio"]:.1f} times.
"""


if __name__ == "__main__":
    main()
