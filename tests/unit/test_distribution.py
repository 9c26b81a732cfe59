"""What cannot be distributed is refused in one line, before any work. (What can: tests/integration.)"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import pytest

from tests import tiny_training
from trainer.distribution import (
    Distribution,
    DistributionError,
    _tpu_address,
    check_places,
    check_recipe,
    open_distribution,
)
from trainer.recipe import RecipeError


def recipe(**pipeline: Any) -> Any:
    sizes = dataclasses.replace(tiny_training.RECIPE.pipeline, **pipeline)
    return dataclasses.replace(tiny_training.RECIPE, pipeline=sizes)


def test_an_unknown_distribution_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DistributionError, match="'grid'; known: cpu, gpu, mirrored, multiworker, tpu"):
        open_distribution("grid")


def test_a_missing_gpu_is_said_in_one_line() -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    for kind in ("gpu", "mirrored"):
        with pytest.raises(DistributionError, match="finds no GPU"):
            open_distribution(kind)


@pytest.mark.parametrize("config", [None, "{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {}}'])
def test_several_workers_need_a_whole_tf_config(config: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(DistributionError, match="TF_CONFIG must be like"):
        open_distribution("multiworker")


@pytest.mark.parametrize("kind", ["mirrored", "multiworker", "tpu"])
def test_jax_takes_one_device_only(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(DistributionError, match="JAX backend trains on cpu or gpu"):
        open_distribution(kind)


def test_parts_of_the_processor_are_for_mirrored_only() -> None:
    with pytest.raises(DistributionError, match="only --distribution mirrored"):
        open_distribution("cpu", devices=2)


def test_a_tpu_wants_buckets() -> None:
    check_places("tpu", "gs://bucket/records", "gs://bucket/runs/1")
    check_places("cpu", "data/records", "runs/1")
    with pytest.raises(DistributionError, match=r"^data/records: --distribution tpu needs gs://"):
        check_places("tpu", "data/records", "gs://bucket/runs/1")


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "local"),
        ({"TPU_NAME": "local"}, "local"),
        ({"TPU_NAME": "mine"}, None),
        ({"KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS": "grpc://10.0.0.2:8470"}, None),
    ],
)
def test_the_machines_own_tpu_is_taken_unless_a_variable_names_another(
    environment: dict[str, str], address: str | None
) -> None:
    assert _tpu_address(environment) == address


def test_without_a_tpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DistributionError, match=r"^--distribution tpu: no TPU found \("):
        open_distribution("tpu")


def test_a_batch_that_the_replicas_cannot_share_is_refused() -> None:
    three = Distribution("mirrored", replicas=3, local_replicas=3)
    check_recipe(recipe(batch=6), three)
    with pytest.raises(RecipeError, match=r"pipeline\.batch=4: .* 3 replicas, as 3 does"):
        check_recipe(recipe(batch=4), three)


@pytest.mark.parametrize("side", [0, 48, 100])
def test_a_side_that_does_not_divide_is_refused(side: int) -> None:
    with pytest.raises(RecipeError, match=rf"pipeline\.side={side}: must be a multiple of 32"):
        check_recipe(recipe(side=side), Distribution("cpu"))


@pytest.mark.parametrize("change", [{"phases": ()}, {"checkpoint_every": 0}, {"log_every": 0}, {"keep": 0}])
def test_nothing_to_do_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        check_recipe(dataclasses.replace(tiny_training.RECIPE, **change), Distribution("cpu"))


def test_a_worker_on_its_own_looks_once_and_goes_on() -> None:
    looks = [14, 21]
    assert Distribution("cpu").require_same(lambda: looks.pop(0), int, "there") == 14
    assert looks == [21]


@pytest.mark.parametrize(("index", "first"), [(0, 0), (1, 2)])
def test_the_first_worker_writes_the_files(index: int, first: int) -> None:
    worker = Distribution("multiworker", replicas=2, worker=(index, 2))
    assert worker.chief is (index == 0)
    batch = next(tiny_training.batches_from(worker.worker)(0))
    whole = next(tiny_training.batches_from()(0))
    assert (batch["images"] == whole["images"][first : first + 2]).all()
