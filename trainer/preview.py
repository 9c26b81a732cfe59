"""Pictures of augmented samples with their targets, to look at before spending a night on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import YaopError
from shared.images import RgbImage
from shared.skeleton import Skeleton, load_skeleton
from trainer import storage
from trainer.data.pipeline import Batch, Source, make_dataset
from trainer.data.targets import render_targets
from trainer.pictures import draw_keypoints, encode_png, grid, overlay_heatmaps, overlay_pafs, shade_mask
from trainer.recipe import Recipe


def write_previews(recipe: Recipe, records: str, out: str, *, count: int = 16, seed: int | None = None) -> list[str]:
    """Write the first samples that a run of the recipe would see, one PNG each.

    Args:
        records: folder or ``gs://`` address with a folder of shards for each source.
        out: folder or address of the pictures.
        count: of pictures.
        seed: in place of the recipe's.

    Returns:
        addresses of the pictures, ``0000.png`` and so on.

    Raises:
        YaopError: records or recipe cannot be used, or a picture cannot be written.
    """
    from trainer.models.registry import get_network

    if count < 1:
        raise YaopError(f"--count {count}: there must be at least one picture to write")
    skeleton, stride = load_skeleton(recipe.skeleton), get_network(recipe.network).stride
    sources = [Source(storage.join(records, s.name), s.weight, s.augment) for s in recipe.sources]
    dataset = make_dataset(
        sources, recipe.pipeline, skeleton, stride=stride, seed=recipe.seed if seed is None else seed, batch=1
    )
    storage.make_folder(out)
    paths: list[str] = []
    for number, picture in enumerate(_pictures(dataset.take(count), recipe, skeleton, stride)):
        paths.append(storage.join(out, f"{number:04d}.png"))
        storage.write_bytes(paths[-1], encode_png(picture))
    return paths


def _pictures(dataset: Any, recipe: Recipe, skeleton: Skeleton, stride: int) -> Iterator[RgbImage]:
    shape = (recipe.pipeline.side // stride, recipe.pipeline.side // stride)
    for element in dataset.as_numpy_iterator():
        fields = render_targets(element["keypoints"], element["sizes"], shape, stride, skeleton, recipe.targets)
        heatmaps, pafs = (np.asarray(field)[0] for field in fields)
        sample = Batch(**{name: value[0] for name, value in element.items()})
        yield draw_sample(sample, heatmaps, pafs, skeleton)


def draw_sample(
    sample: Batch, heatmaps: NDArray[np.floating], pafs: NDArray[np.floating], skeleton: Skeleton
) -> RgbImage:
    """One row of pictures: the input, its labels with the masked part hatched, heatmaps, PAFs.

    Channels that carry no loss are left out, so that what is seen is what is taught.

    Args:
        sample: a batch without its first dimension.
        heatmaps, pafs: ``[h, w, K]`` and ``[h, w, 2L]`` targets.
    """
    image = sample.images
    masked = shade_mask(draw_keypoints(image, sample.keypoints, skeleton), sample.mask)
    row = {
        "input": image,
        "labels, masked": masked,
        "heatmaps": overlay_heatmaps(image, heatmaps * sample.keypoint_weights * sample.mask, skeleton),
        "PAFs": overlay_pafs(image, pafs * np.repeat(sample.limb_weights, 2) * sample.mask, skeleton),
    }
    return grid([list(row.values())], [list(row)])
