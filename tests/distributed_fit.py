"""`python -m tests.distributed_fit KIND DEVICES RUN INITIAL`: train the tiny network in a process of its own."""

from __future__ import annotations

import dataclasses
import sys

from tests import tiny_training
from trainer.distribution import open_distribution
from trainer.fit import train
from trainer.recipe import Phase

# One phase, in which everything learns, batch norms with their statistics too.
RECIPE = tiny_training.recipe(phases=(Phase(steps=6, learning_rate=1e-2, warmup=2),), log_every=1)


def main(kind: str, devices: str, run: str, initial: str) -> None:
    distribution = open_distribution(kind, int(devices))
    recipe = dataclasses.replace(RECIPE, initial=initial)
    result = train(recipe, run, distribution, batches_from=tiny_training.batches_from(distribution.worker))
    sys.stdout.write(" ".join(["losses", *(str(event["loss"]) for event in result.history)]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
