"""What this machine offers a training: Python, packages, processors, memory, and its place in a cluster."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shared.cores import usable_cores
from trainer.data.meter import readable
from trainer.diagnosis import Check, fail, ok, warn

REQUIRED_PACKAGES = ("keras", "tensorflow", "numpy", "opencv-python-headless", "pycocotools", "httpx", "matplotlib")
OPTIONAL_PACKAGES = ("jax",)
BACKENDS = ("tensorflow", "jax")
TPU_VARIABLES = ("TPU_NAME", "COLAB_TPU_ADDR", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_WORKER_HOSTNAMES")

_PYTHONS = ((3, 11), (3, 13))
_LITTLE_MEMORY = 4_000_000_000  # bytes; TensorFlow and a batch of the default recipe take about half of it
_BFLOAT16_GENERATION = 8  # major compute capability of the first GPUs that are fast in each: Ampere, Volta
_FLOAT16_GENERATION = 7
_INSTALL = "install 'yaop[train]'"


class Accelerator(NamedTuple):
    """A processor made for this: its name, and for a GPU its CUDA compute capability, as in (8, 0)."""

    kind: Literal["gpu", "tpu"]
    name: str
    capability: tuple[int, int] | None = None


def check_python(running: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Whether YAOP supports this Python."""
    first, last = (".".join(map(str, bound)) for bound in _PYTHONS)
    if not _PYTHONS[0] <= running <= _PYTHONS[1]:
        return fail("Python", ".".join(map(str, running)), f"use Python {first} to {last}")
    return ok("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def check_packages() -> list[Check]:
    """Versions of what training needs, and of what it can use."""
    required = [
        # TensorFlow's build for TPUs has another name.
        _check_package(name, _check_package(f"{name}-tpu", fail(name, "not installed", _INSTALL)))
        for name in REQUIRED_PACKAGES
    ]
    absent = "not installed", "only for KERAS_BACKEND=jax: install 'yaop[jax]'"
    return required + [_check_package(name, ok(name, *absent)) for name in OPTIONAL_PACKAGES]


def check_tensorboard() -> Check:
    """Whether curves can be written and looked at."""
    try:
        importlib.import_module("tensorboard")
    except ImportError as error:
        return fail("TensorBoard", f"cannot be imported: {error}", _INSTALL)
    return ok("TensorBoard", version("tensorboard"), "look at runs with `tensorboard --logdir RUNS`")


def check_backend() -> Check:
    """Whether Keras can be imported and runs on a framework that the trainer knows."""
    known = " or ".join(BACKENDS)
    try:
        import keras

        backend = str(keras.backend.backend())
    except Exception as error:  # noqa: BLE001 - a broken installation fails in any way it likes
        reason = " ".join(str(error).split())[:200]
        return fail(
            "Keras backend", f"Keras cannot be imported: {reason}", f"KERAS_BACKEND must be {known}; {_INSTALL}"
        )
    if backend not in BACKENDS:
        return fail("Keras backend", f"{backend} is not supported", f"set KERAS_BACKEND to {known}")
    return ok("Keras backend", backend)


def find_accelerators() -> list[Accelerator]:
    """What TensorFlow sees, and JAX where it is installed; each processor once.

    Raises:
        ImportError: TensorFlow or JAX cannot be imported.
        RuntimeError: their drivers fail.
    """
    seen = _seen_by_tensorflow()
    if len(seen) == 0 and find_spec("jax") is not None:
        seen = _seen_by_jax()
    return seen


def check_accelerators(accelerators: Sequence[Accelerator], nvidia: bool) -> Check:
    """Which processors train.

    Args:
        nvidia: the machine has an NVIDIA GPU, whether or not it can be used.
    """
    if accelerators:
        return ok("accelerators", ", ".join(f"{found.kind.upper()} {found.name}" for found in accelerators))
    if nvidia:
        hint = "install 'yaop[gpu]' for TensorFlow or 'jax[cuda12]' for JAX; in a container, pass the GPU on"
        return warn("accelerators", "there is an NVIDIA GPU that neither TensorFlow nor JAX can use", hint)
    return ok("accelerators", "none; the CPU trains")


def has_nvidia() -> bool:
    """Whether the kernel knows an NVIDIA GPU."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def check_precision(accelerators: Sequence[Accelerator], precision: str) -> Check:
    """Whether a recipe's precision suits the processors."""
    best = best_precision(accelerators)
    detail = f"the recipe says {precision}; {best} suits this machine"
    if precision == best:
        return ok("precision", detail)
    hint = f"--set precision={best}"
    return ok("precision", detail, f"faster: {hint}") if precision == "float32" else warn("precision", detail, hint)


def best_precision(accelerators: Sequence[Accelerator]) -> str:
    """The Keras dtype policy that is fast on all of these without doing harm."""
    if not accelerators:
        return "float32"
    generations = [found.capability[0] if found.capability else 0 for found in accelerators if found.kind == "gpu"]
    weakest = min(generations, default=_BFLOAT16_GENERATION)
    if weakest >= _BFLOAT16_GENERATION:
        return "mixed_bfloat16"
    return "mixed_float16" if weakest >= _FLOAT16_GENERATION else "float32"


def check_processors() -> Check:
    """CPU cores that this process may use."""
    cores = usable_cores()
    return ok("CPU", f"{cores} cores")


def check_memory() -> Check:
    """Memory that this process may use, of the machine or of its container."""
    return memory_check(memory_bytes())


def memory_check(amount: int) -> Check:
    """Whether so many bytes of memory are enough."""
    if not amount:
        return ok("memory", "unknown", "with psutil installed it is told")
    if amount < _LITTLE_MEMORY:
        return warn("memory", readable(amount), "little: use a small --set pipeline.batch")
    return ok("memory", readable(amount))


def memory_bytes() -> int:
    """Memory of the machine, or the container's limit if that is lower; 0 if the system does not tell."""
    limits = [_memory_of_machine()]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(file)
        if path.is_file() and (text := path.read_text("ascii").strip()).isdigit():
            limits.append(int(text))
    return min(limits)


def _memory_of_machine() -> int:
    ask: Callable[[str], int] | None = getattr(os, "sysconf", None)
    if ask is not None:
        return ask("SC_PAGE_SIZE") * ask("SC_PHYS_PAGES")
    try:
        from psutil import virtual_memory
    except ImportError:
        return 0
    return virtual_memory().total


def check_cluster(environment: Mapping[str, str]) -> Check:
    """Whether TF_CONFIG, if it is set, names the workers and which of them this is."""
    text = environment.get("TF_CONFIG", "")
    if not text:
        return ok("TF_CONFIG", "not set: this machine trains alone")
    problem = _cluster_problem(text)
    if problem:
        example = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        return fail("TF_CONFIG", problem, f"as in {example}")
    config = json.loads(text)
    jobs = ", ".join(f"{len(hosts)} {job}" for job, hosts in config["cluster"].items())
    return ok("TF_CONFIG", f"cluster of {jobs}; this is {config['task']['type']} {config['task']['index']}")


def check_tpu(environment: Mapping[str, str], remote: bool) -> Check:
    """Whether a TPU is announced, and what to know then.

    Args:
        remote: records and runs are in a bucket.
    """
    found = [name for name in TPU_VARIABLES if environment.get(name)]
    if not found:
        return ok("TPU", "none announced")
    detail = ", ".join(f"{name}={environment[name]}" for name in found) + "; YAOP was not tested on a TPU"
    hint = (
        "" if remote else "; a remote TPU reads records and writes runs in a bucket: --records gs://... --runs gs://..."
    )
    return warn("TPU", detail, f"use --distribution tpu and --set precision=mixed_bfloat16{hint}")


def _check_package(name: str, absent: Check) -> Check:
    try:
        return ok(name, version(name))
    except PackageNotFoundError:
        return absent


def _seen_by_tensorflow() -> list[Accelerator]:
    import tensorflow as tf

    found: list[Accelerator] = []
    for device in tf.config.list_physical_devices("GPU"):
        details: dict[str, Any] = tf.config.experimental.get_device_details(device)
        found.append(Accelerator("gpu", details.get("device_name", device.name), details.get("compute_capability")))
    return found + [Accelerator("tpu", device.name) for device in tf.config.list_physical_devices("TPU")]


def _seen_by_jax() -> list[Accelerator]:
    import jax

    devices: list[Any] = jax.devices()
    tpus = [Accelerator("tpu", device.device_kind) for device in devices if device.platform == "tpu"]
    gpus = [device for device in devices if device.platform in ("gpu", "cuda", "rocm")]
    return tpus + [Accelerator("gpu", device.device_kind, _capability(device)) for device in gpus]


def _capability(device: Any) -> tuple[int, int] | None:
    major, _, minor = str(getattr(device, "compute_capability", "")).partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _cluster_problem(text: str) -> str:
    """What is wrong with the content of TF_CONFIG, or ""."""
    try:
        config = json.loads(text)
    except ValueError as error:
        return f"is not JSON: {error}"
    cluster = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not all(_are_addresses(hosts) for hosts in cluster.values()):
        return 'has no "cluster" of lists of host:port'
    if not isinstance(task, dict) or task.get("type") not in cluster:
        return f'has no "task" whose type is one of {", ".join(cluster)}'
    hosts = cluster[task["type"]]
    index = task.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(hosts):
        return f'the index of its "task" is {index!r}, not one of 0 to {len(hosts) - 1}'
    return ""


def _are_addresses(hosts: Any) -> bool:
    return (
        isinstance(hosts, list)
        and bool(hosts)
        and all(isinstance(host, str) and host.rpartition(":")[2].isdigit() for host in hosts)
    )
