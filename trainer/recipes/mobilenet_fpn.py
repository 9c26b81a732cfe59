"""mobilenet_fpn on COCO and LSPET, started from MoveNet's trunk.

yaop train import-movenet SOURCE initial.weights.h5
yaop train fit --recipe mobilenet_fpn --data DATA --initial initial.weights.h5
"""

from trainer.data.augment import AugmentOptions
from trainer.recipe import DataSource, Phase, Recipe

_TRUNK = ("stem", "block_", "trunk_out", "narrow_", "coco_head")
_LSPET = AugmentOptions(long_side=(80.0, 400.0), person_side=(60.0, 240.0))

RECIPE = Recipe(
    network="mobilenet_fpn",
    sources=(
        DataSource("coco/person_keypoints_train.json", "coco/train", 0.78),
        DataSource("coco/person_keypoints_background.json", "coco/background", 0.04),
        DataSource("lspet/person_keypoints_lspet.json", "lspet/images", 0.18, only_labelled=True, augment=_LSPET),
    ),
    phases=(Phase(steps=2400, learning_rate=1e-3, frozen=_TRUNK),),
)
