"""The paper's network on COCO 2017 (arXiv 1812.08008), from VGG-19's ImageNet weights.

    yaop train download
    yaop train run --recipe openpose_vgg19 --distribution gpu

Four PAF stages, then two heatmap stages, a loss at each; inputs of 384 pixels (the paper: 368), stride 8, batches of
10 as in the paper, whose authors trained on several GPUs for days. Mixed precision (bfloat16) is what current GPUs are
fast at; take `--set precision=float32` on others.

Hardware and time: two million samples; a GPU with 16 GB of memory. Never run to its end by the authors, who had no
GPU: six hours at 90 pictures a second, which 100 TFLOP/s used to 40 % would make, is arithmetic and no measurement. The
paper gives an AP of 0.653 on val2017, at several scales.
"""

from trainer.data.augment import AugmentOptions
from trainer.data.pipeline import PipelineOptions
from trainer.recipe import DataSource, EvaluationData, Phase, Recipe

_VGG = tuple(f"block{number}_" for number in range(1, 5))

RECIPE = Recipe(
    network="openpose_vgg19",
    network_options={"imagenet": True},
    sources=(
        DataSource(
            "coco", "coco/annotations/person_keypoints_train2017.json", "coco/train2017",
            augment=AugmentOptions(long_side=(300.0, 900.0), person_side=(40.0, 600.0)),
        ),
    ),
    evaluation=EvaluationData(
        "coco/annotations/person_keypoints_val2017.json", "coco/val2017", every=10_000, limit=500
    ),
    phases=(Phase(steps=200_000, learning_rate=1e-4, warmup=2000, rates=tuple((name, 0.25) for name in _VGG)),),
    precision="mixed_bfloat16",
    checkpoint_every=2000,
    pipeline=PipelineOptions(side=384, batch=10, shuffle=2048),
)  # fmt: skip
