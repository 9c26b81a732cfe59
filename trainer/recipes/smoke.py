"""The whole job in minutes, offline: the shipped model is trained on for a little, on pictures that packages ship.

    make train
    yaop train run --recipe smoke

Hardware and time: two CPU cores, under ten minutes. The data set is made on the spot (`trainer.data.smoke`): three
people in two dozen compositions. Its validation pictures show the same three people, so an AP of 0.8 and more only
says that the machinery works.
"""

from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.recipe import DataSource, EvaluationData, Phase, Recipe
from trainer.recipes.mobilenet_fpn import IMPORTED

RECIPE = Recipe(
    network="mobilenet_fpn",
    initial="shipped",
    sources=(
        DataSource(
            "smoke", "smoke/train.json", "smoke/images",
            augment=AugmentOptions(long_side=(200.0, 400.0), person_side=(60.0, 400.0)),
        ),
    ),
    evaluation=EvaluationData("smoke/val.json", "smoke/images", resolution=256, every=60),
    phases=(Phase(steps=120, learning_rate=2e-4, warmup=20, frozen=IMPORTED),),
    average=0.95,
    checkpoint_every=40,
    log_every=10,
    export=(256, 384),
    pipeline=PipelineOptions(side=256, batch=8),
)  # fmt: skip
