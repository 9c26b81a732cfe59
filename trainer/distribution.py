"""Where a run computes: one device, or many that share each batch, chosen by one word.

    cpu          one process on the processor (also what the JAX backend does there)
    gpu          one process on one GPU
    mirrored     one process on all GPUs of a machine, or on `devices` logical parts of the processor
    multiworker  several processes or machines, named by the environment variable TF_CONFIG
    tpu          a Cloud TPU. NEVER RUN by the authors, who have none: everything that can be checked without one is,
                 and the step is the one that `mirrored` runs

The batch of a recipe is the global one: n replicas get a n-th of it each, their gradients are added up, and batch
norms that learn take their statistics over all replicas. So the number of replicas changes the speed and nothing else.
Learning rates follow the global batch (`trainer.optimizer.for_batch`), never the number of replicas.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from shared.cores import limited_cores
from shared.errors import YaopError
from trainer.recipe import Recipe, RecipeError
from trainer.storage import is_remote

KINDS = ("cpu", "gpu", "mirrored", "multiworker", "tpu")
_TPU_ADDRESSES = ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_CONFIG")  # where TensorFlow looks for one
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds between looks at the checkpoints
_MULTIPLE = 32  # pixels: networks halve their input up to five times

Found = TypeVar("Found")


class DistributionError(YaopError):
    """A way to distribute that is unknown or that this machine lacks the devices for."""


@dataclass(frozen=True)
class Distribution:
    """The devices of a run.

    Attributes:
        kind: one of `KINDS`.
        strategy: of `tf.distribute`; None on the JAX backend.
        replicas, local_replicas: in all processes, and in this one.
        worker: index of this process and number of processes.
        compiles: whether small parts of the step may be compiled by XLA on their own.
    """

    kind: str
    strategy: Any = None
    replicas: int = 1
    local_replicas: int = 1
    worker: tuple[int, int] = (0, 1)
    compiles: bool = True

    @property
    def chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.worker[0] == 0

    def scope(self) -> AbstractContextManager[Any]:
        """Variables made within it are there on every replica."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def spread(self, batch: Mapping[str, Any]) -> Any:
        """This worker's part of a batch (tensors), divided among its replicas, for `strategy.run`."""
        if self.local_replicas == 1 and self.worker[1] == 1:
            return dict(batch)

        def part(context: Any) -> dict[str, Any]:
            number = context.replica_id_in_sync_group % self.local_replicas
            return {name: _slice(values, number, self.local_replicas) for name, values in batch.items()}

        return self.strategy.experimental_distribute_values_from_function(part)

    def require_same(
        self, look: Callable[[], Found], step: Callable[[Found], int], place: str, waits: Sequence[float] = _WAITS
    ) -> Found:
        """What all workers find in `place`; none may begin at another step than the others.

        Args:
            look: called before each comparison, by all of them alike.
            step: of what was found.
            waits: seconds before each further look, as a network's file system may show new files late.

        Raises:
            DistributionError: their steps still differ, because they do not see the same files in `place`.
        """
        for wait in (0.0, *waits):
            time.sleep(wait)
            found = look()
            if self._all_have(step(found)):
                return found
        raise DistributionError(f"{place}: the workers see different checkpoints there; all need the same folder")

    def _all_have(self, number: int) -> bool:
        """Whether all workers have this number. All must ask, and all get the same answer."""
        if self.worker[1] == 1:
            return True
        import tensorflow as tf

        def add_up() -> Any:
            context: Any = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant([number, number**2], tf.int64))

        sums = self.strategy.experimental_local_results(tf.function(self.strategy.run)(add_up))[0]
        total, squares = (int(value) for value in sums)
        # Made of the sums alone: a worker that compared its own number could find it equal to the mean of others.
        return squares * self.replicas == total**2

    def prepare(self, network: keras.Model) -> None:
        """Have the network's batch norms take their statistics over all replicas."""
        for layer in network.layers:
            if self.replicas > 1 and isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def check_recipe(recipe: Recipe, distribution: Distribution) -> None:
    """Refuse what cannot be trained, before any work.

    Raises:
        RecipeError: sides or batch don't divide, or there is nothing to do.
    """
    side, batch = recipe.pipeline.side, recipe.pipeline.batch
    if side <= 0 or side % _MULTIPLE:
        raise RecipeError(f"pipeline.side={side}: must be a multiple of {_MULTIPLE}, such as {_near(side, _MULTIPLE)}")
    if batch <= 0 or batch % distribution.replicas:
        replicas = distribution.replicas
        raise RecipeError(
            f"pipeline.batch={batch}: the global batch must divide among {replicas} replicas,"
            f" as {_near(batch, replicas)} does"
        )
    if not recipe.phases or any(phase.steps <= 0 for phase in recipe.phases):
        raise RecipeError("phases: there must be one at least, and each needs steps")
    for name in ("checkpoint_every", "log_every", "keep"):
        if getattr(recipe, name) <= 0:
            raise RecipeError(f"{name}={getattr(recipe, name)}: must be at least 1")


def check_places(distribution: str, *places: str | None) -> None:
    """Refuse local folders where only buckets can be reached.

    Raises:
        DistributionError: a TPU reads its data from, and writes to, ``gs://`` addresses.
    """
    local = [place for place in places if place and not is_remote(place)]
    if distribution == "tpu" and local:
        raise DistributionError(f"{local[0]}: --distribution tpu needs gs:// addresses for records and runs")


def open_distribution(kind: str, devices: int = 0) -> Distribution:
    """Set up the devices; to be called before anything else uses TensorFlow or JAX.

    Args:
        kind: one of `KINDS`.
        devices: logical devices that ``mirrored`` divides the processor into; 0 takes the GPUs.

    Raises:
        DistributionError: there are no such devices, or the backend cannot use them.
    """
    if kind not in KINDS:
        raise DistributionError(f"unknown distribution {kind!r}; known: {', '.join(KINDS)}")
    if devices and kind != "mirrored":
        raise DistributionError(f"--devices {devices}: only --distribution mirrored takes it")
    backend = keras.backend.backend()
    _hold_to_cores()
    if backend == "jax":
        return _open_jax(kind)
    if backend != "tensorflow":
        raise DistributionError(f"KERAS_BACKEND={backend}: training runs on tensorflow or jax")
    if kind == "mirrored":
        return _open_mirrored(devices)
    return {"cpu": _open_cpu, "gpu": _open_gpu, "multiworker": _open_multiworker, "tpu": _open_tpu}[kind]()


def _hold_to_cores() -> None:
    """Have TensorFlow start no more threads than a container has processors, which it does not know by itself."""
    import tensorflow as tf

    if cores := limited_cores():
        with suppress(RuntimeError):  # TensorFlow was used before
            # Not those between operations: workers of a cluster wait for each other on them.
            tf.config.threading.set_intra_op_parallelism_threads(cores)


def _open_jax(kind: str) -> Distribution:
    if kind not in ("cpu", "gpu"):
        raise DistributionError(f"--distribution {kind}: the JAX backend trains on cpu or gpu; unset KERAS_BACKEND")
    import jax

    try:
        jax.config.update("jax_default_device", jax.devices(kind)[0])
    except RuntimeError as error:
        raise DistributionError(f"--distribution {kind}: JAX finds no such device here") from error
    _hide_gpus()  # the input pipeline is TensorFlow's, which would take all of a GPU's memory for itself
    return Distribution(kind)


def _open_cpu() -> Distribution:
    import tensorflow as tf

    _hide_gpus()
    return Distribution("cpu", tf.distribute.get_strategy())


def _open_gpu() -> Distribution:
    import tensorflow as tf

    _require_gpu()
    return Distribution("gpu", tf.distribute.get_strategy())


def _open_mirrored(devices: int) -> Distribution:
    import tensorflow as tf

    if not devices:
        _require_gpu()
        return _described("mirrored", tf.distribute.MirroredStrategy())
    _split_processor(devices)
    names = [f"CPU:{number}" for number in range(devices)]
    return _described("mirrored", tf.distribute.MirroredStrategy(names), compiles=devices == 1)


def _open_multiworker() -> Distribution:
    import tensorflow as tf

    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, index = len(config["cluster"]["worker"]), int(config["task"]["index"])
    except (KeyError, TypeError, ValueError) as error:
        example = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
        raise DistributionError(f"--distribution multiworker: TF_CONFIG must be like {example}") from error
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.AUTO
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    return _described("multiworker", strategy, (index, workers))


def _open_tpu() -> Distribution:
    """A Cloud TPU; NEVER RUN, see the module's docstring."""
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(_tpu_address(os.environ))
        strategy = tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise DistributionError(f"--distribution tpu: no TPU found ({' '.join(str(error).split())[:200]})") from error
    # The whole step is compiled there, so its parts need not be.
    return _described("tpu", strategy, compiles=False)


def _tpu_address(environment: Mapping[str, str]) -> str | None:
    """What to connect to: None has TensorFlow look where its variables say, "local" takes the TPU of this machine."""
    return None if any(environment.get(name) not in (None, "", "local") for name in _TPU_ADDRESSES) else "local"


def _described(kind: str, strategy: Any, worker: tuple[int, int] = (0, 1), *, compiles: bool = True) -> Distribution:
    replicas = strategy.num_replicas_in_sync
    return Distribution(kind, strategy, replicas, replicas // worker[1], worker, compiles)


def _require_gpu() -> None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        raise DistributionError("TensorFlow finds no GPU here; use --distribution cpu, or install yaop[train,gpu]")


def _hide_gpus() -> None:
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:  # TensorFlow was used before; with a GPU, it will be used
        return


def _split_processor(devices: int) -> None:
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    try:
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(devices)]
        tf.config.set_logical_device_configuration(processor, parts)
    except RuntimeError:  # TensorFlow was used before: the processor is what it was divided into then
        pass
    if (found := len(tf.config.list_logical_devices("CPU"))) < devices:
        raise DistributionError(f"--devices {devices}: TensorFlow has already started with {found}")


def _slice(values: Any, number: int, count: int) -> Any:
    size = values.shape[0] // count
    return values[number * size : (number + 1) * size]


def _near(value: int, multiple: int) -> int:
    return max(1, round(value / multiple)) * multiple
