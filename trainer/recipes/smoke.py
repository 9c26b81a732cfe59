"""A run of a few steps on any data laid out as `train.json` beside `images/`: does the whole job work?

    yaop train fit --recipe smoke --data DATA

A minute on two CPU cores. The result is not meant to find anybody.
"""

from trainer.data.pipeline import PipelineOptions
from trainer.recipe import DataSource, Phase, Recipe

RECIPE = Recipe(
    network="mobilenet_fpn",
    sources=(DataSource("train.json", "images", 1.0),),
    phases=(Phase(steps=8, learning_rate=1e-3, warmup=2, frozen=("stem", "block_", "trunk_out")), Phase(4, 1e-4, 1)),
    checkpoint_every=4,
    average_every=2,
    pipeline=PipelineOptions(side=64, batch=4, max_people=4, max_ignored=4, threads=1),
    network_options={"width": 16},
)
