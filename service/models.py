"""The models this process serves: bundles with their engines, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.engine_pool import EnginePool
from shared.bundle import Bundle, BundleError, find_bundle, load_bundle, shipped_models_dir
from shared.cores import usable_cores
from shared.geometry import Shape
from shared.inference.engine import Engine, EngineError, Fields, load_engine
from shared.inference.estimator import PoseOptions, average_mirrored
from shared.schema import ModelRef
from shared.skeleton import Skeleton

if TYPE_CHECKING:
    from service.settings import Settings  # its package comes with the server; `yaop video` does without

OfOne = TypeVar("OfOne")

LANES = 2  # more would gain little and cost 70 MB each


class PoseArraysOfOne(NamedTuple):
    """What the engine found in one network input."""

    peaks: NDArray[np.float32]
    limb_scores: NDArray[np.float32]


class FieldsOfOne(NamedTuple):
    """The network's raw output for one network input."""

    heatmaps: NDArray[np.float32]
    pafs: NDArray[np.float32]


@dataclass(frozen=True)
class LoadedModel:
    """A bundle and the engine that runs it.

    Where there is a `pool`, background calls go there and run side by side.

    The engine calls take uint8 ``[B, H, W, 3]`` and give a list with one result per input, as the batcher
    wants it.
    """

    bundle: Bundle
    engine: Engine
    batch_limit: int = 1
    pool: EnginePool | None = None

    @property
    def name(self) -> str:
        """What ``model=`` selects it by."""
        return self.bundle.manifest.name

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton it finds."""
        return self.bundle.skeleton

    @property
    def ref(self) -> ModelRef:
        """How results refer to it."""
        return ModelRef(name=self.name, version=self.bundle.manifest.version)

    def pose(self, images: NDArray[np.uint8]) -> list[PoseArraysOfOne]:
        """Peaks and limb scores."""
        return _split(PoseArraysOfOne, self.engine.pose(images))

    def background_pose(self, images: NDArray[np.uint8]) -> list[PoseArraysOfOne]:
        """Peaks and limb scores, for what is queued in the background."""
        return _split(PoseArraysOfOne, (self.pool or self.engine).pose(images))

    def flipped_pose(self, images: NDArray[np.uint8]) -> list[PoseArraysOfOne]:
        """Peaks and limb scores of the fields averaged over each input and its mirror image."""
        return _split(PoseArraysOfOne, self.engine.decode(self._average_flipped(images)))

    def fields(self, images: NDArray[np.uint8]) -> list[FieldsOfOne]:
        """Heatmaps and PAFs."""
        return _split(FieldsOfOne, self.engine.fields(images))

    def flipped_fields(self, images: NDArray[np.uint8]) -> list[FieldsOfOne]:
        """Heatmaps and PAFs averaged over each input and its mirror image."""
        return _split(FieldsOfOne, self._average_flipped(images))

    def warm_up(self) -> None:
        """Run the shapes of the default resolution once, so that the first request is not the slow one."""
        self.engine.warm_up(shapes_at(self.engine.shapes, PoseOptions().long_side))

    def check(self) -> None:
        """Run one empty picture and see that the results have the skeleton's form.

        Raises:
            EngineError: they have not.
        """
        height, width = shapes_at(self.engine.shapes, PoseOptions().long_side)[0]
        arrays = self.engine.pose(np.zeros((1, height, width, 3), np.uint8))
        expected = (self.skeleton.num_keypoints, self.skeleton.num_limbs)
        found = (arrays.peaks.shape[1], arrays.limb_scores.shape[1])
        if found != expected or not np.isfinite(arrays.peaks).all():
            wanted = f"expected {expected[0]} keypoints and {expected[1]} limbs, got {found[0]} and {found[1]}"
            raise EngineError(f"{self.bundle.path}: the network does not fit the skeleton ({wanted})")

    def _average_flipped(self, images: NDArray[np.uint8]) -> Fields:
        both = self.engine.fields(np.concatenate([images, images[:, :, ::-1]]))
        count = len(images)
        pairs = (Fields(both.heatmaps[i::count], both.pafs[i::count]) for i in range(count))
        averaged = [average_mirrored(pair, self.skeleton) for pair in pairs]
        return Fields(*(np.concatenate(arrays) for arrays in zip(*averaged, strict=True)))


class ModelRepository:
    """The loaded models; the first one is the default.

    Args:
        models: at least one.
    """

    def __init__(self, models: Iterable[LoadedModel]) -> None:
        self._models = {model.name: model for model in models}
        self.default = next(iter(self._models.values()))

    def __iter__(self) -> Iterator[LoadedModel]:
        return iter(self._models.values())

    @property
    def names(self) -> list[str]:
        """Names of all loaded models, the default first."""
        return list(self._models)

    def get(self, name: str | None) -> LoadedModel | None:
        """The model of this name (the default for None), or None if it is not loaded."""
        return self.default if name is None else self._models.get(name)

    def close(self) -> None:
        """Free all engines."""
        for model in self:
            model.engine.close()
            if model.pool is not None:
                model.pool.close()

    @property
    def lanes(self) -> int:
        """How many background calls run best side by side; 0 if they had better take turns with the others."""
        return LANES if any(model.pool for model in self) else 0


def load_models(settings: Settings) -> ModelRepository:
    """Load and verify the bundles that the settings name, with their engines.

    Raises:
        SettingsError: no bundle has that name. BundleError: a bundle is damaged. EngineError: it cannot be run.
    """
    return ModelRepository([_load(name, settings) for name in settings.model])


def model_folders(models_dir: Path | None) -> list[Path]:
    """Where bundles are looked for, in order."""
    return [folder for folder in (models_dir, shipped_models_dir()) if folder is not None]


def shapes_at(shapes: Iterable[Shape], long_side: int) -> list[Shape]:
    """The listed shapes of the smallest listed long side that is at least `long_side` (or of the largest)."""
    sides = sorted({max(shape) for shape in shapes})
    side = next((side for side in sides if side >= long_side), sides[-1])
    return [shape for shape in shapes if max(shape) == side]


def _load(name: str, settings: Settings) -> LoadedModel:
    try:
        folder = find_bundle(name, model_folders(settings.models_dir))
    except BundleError as error:
        from service.settings import PREFIX, SettingsError

        raise SettingsError(f"{PREFIX}MODEL={name}: {error}") from None
    bundle = load_bundle(folder)
    engine = load_engine(bundle, settings.engine, settings.threads)
    if engine.name != "litert":
        return LoadedModel(bundle, engine, settings.batch_size)
    # LiteRT runs a batch one by one, so grouping would only make the first wait for the last.
    return LoadedModel(bundle, engine, 1, engine_pool(bundle, settings.threads))


def engine_pool(bundle: Bundle, threads: int) -> EnginePool | None:
    """Engines for `LANES` background calls at a time, on so many threads (0: all cores); None if they are too few."""
    each = (threads or usable_cores()) // LANES
    return EnginePool(lambda: load_engine(bundle, "litert", each)) if each else None


def _split(kind: Callable[..., OfOne], arrays: Iterable[NDArray[np.float32]]) -> list[OfOne]:
    return [kind(*rows) for rows in zip(*arrays, strict=True)]
