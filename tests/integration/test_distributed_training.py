"""The number of devices, processes and the backend change nothing but the speed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import tiny_training
from tests.distributed_fit import RECIPE
from tests.ports import free_ports
from trainer.distribution import Distribution, open_distribution
from trainer.fit import train
from trainer.weights import save_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RTOL = 1e-4


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> str:
    keras.utils.set_random_seed(3)
    address = str(tmp_path_factory.mktemp("initial") / "initial.weights.h5")
    save_weights(tiny_training.build(tiny_training.SKELETON), address)
    return address


@pytest.fixture(scope="module")
def one_process(initial: str, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses of each step on one device."""
    recipe = dataclasses.replace(RECIPE, initial=initial)
    run = str(tmp_path_factory.mktemp("run"))
    result = train(recipe, run, open_distribution("cpu"), batches_from=tiny_training.batches_from())
    return [event["loss"] for event in result.history]


def start(kind: str, devices: int, run: Path, initial: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.distributed_fit", kind, str(devices), str(run), initial],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(process: subprocess.Popen[str]) -> list[float]:
    try:
        output, errors = process.communicate(timeout=500)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    (line,) = (line for line in output.splitlines() if line.startswith("losses "))
    return [float(loss) for loss in line.split()[1:]]


def test_two_virtual_devices_give_the_losses_of_one(one_process: list[float], initial: str, tmp_path: Path) -> None:
    mirrored = losses(start("mirrored", 2, tmp_path / "run", initial))
    np.testing.assert_allclose(mirrored, one_process, rtol=RTOL)


def test_two_worker_processes_give_the_losses_of_one(one_process: list[float], initial: str, tmp_path: Path) -> None:
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [
        start(
            "multiworker", 0, tmp_path / "run", initial,
            TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]  # fmt: skip
    try:
        for process in processes:
            np.testing.assert_allclose(losses(process), one_process, rtol=RTOL)
    finally:
        for process in processes:
            process.kill()
    assert (tmp_path / "run" / "final.weights.h5").exists()
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert len(lines) == len(one_process), "one of the two has written the history"


_COMPARE = """
from trainer.distribution import DistributionError, open_distribution
import sys

looks = [int(number) for number in sys.argv[1:]]
distribution = open_distribution("multiworker")
found = distribution.require_same(lambda: looks.pop(0), int, "there", waits=[0.1] * 4)
print("found", found, "left", len(looks))
try:
    distribution.require_same(lambda: looks.pop(0), int, "there", waits=[0.1])
except DistributionError as error:
    print(error, "left", len(looks))
"""


def compare(workers: list[str], index: int, numbers: str) -> subprocess.Popen[str]:
    config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", _COMPARE, *numbers.split()],
        env=os.environ | quiet | {"TF_CONFIG": json.dumps(config)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_workers_look_again_until_all_see_the_same_checkpoint_or_none_of_them_goes_on() -> None:
    # What each sees, look by look. 7 is the mean of 0, 7 and 14: who sees it must not go on alone.
    seen = ["0 14 14 0 0 99", "7 7 14 7 7 99", "14 14 14 14 14 99"]
    workers = [f"127.0.0.1:{port}" for port in free_ports(3)]
    processes = [compare(workers, index, numbers) for index, numbers in enumerate(seen)]
    try:
        said = [process.communicate(timeout=300)[0].splitlines() for process in processes]
    finally:
        for process in processes:
            process.kill()
    different = "there: the workers see different checkpoints there; all need the same folder left 1"
    assert said == [["found 14 left 3", different]] * 3


def test_jax_gives_the_losses_of_tensorflow(one_process: list[float], initial: str, tmp_path: Path) -> None:
    jax = losses(start("cpu", 0, tmp_path / "run", initial, KERAS_BACKEND="jax"))
    np.testing.assert_allclose(jax, one_process, rtol=1e-3)


def test_each_replica_gets_its_part_of_the_batch() -> None:
    whole = next(tiny_training.batches_from()(0))["images"]
    parts = [next(tiny_training.batches_from((index, 2))(0))["images"] for index in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert Distribution("cpu").spread({"images": whole})["images"] is whole
