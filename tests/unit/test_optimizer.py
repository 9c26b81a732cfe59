"""How gradients change weights: clipping, rates, schedule, running average, loss scale."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tiny_training import RECIPE
from trainer.optimizer import (
    AdamW,
    all_finite,
    clip_by_global_norm,
    first_loss_scale,
    follow,
    for_batch,
    learning_rate,
    make_optimizer,
    next_loss_scale,
)
from trainer.recipe import Phase

Array = NDArray[np.float32]


def array(value: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(value))


def test_updates_are_those_of_keras_own_adamw_on_kernels() -> None:
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 2)).astype(np.float32)
    variable = keras.Variable(start)
    theirs = keras.optimizers.AdamW(0.05, weight_decay=0.1)
    ours = AdamW((1.0,), decay=0.1, clip_norm=0)
    weights: list[Any] = [start]
    moments = ours.begin(weights)
    for _ in range(5):
        gradient = random.normal(size=(3, 2)).astype(np.float32)
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        weights, moments = ours.update(weights, [gradient], moments, np.float32(0.05))
    np.testing.assert_allclose(array(weights[0]), array(variable), rtol=1e-5)


def test_norms_and_biases_do_not_decay() -> None:
    optimizer = AdamW((1.0, 1.0), decay=0.5)
    weights = [np.ones((2, 2), np.float32), np.ones(2, np.float32)]
    still = [np.zeros_like(weight) for weight in weights]
    (kernel, bias), _ = optimizer.update(weights, still, optimizer.begin(weights), np.float32(0.1))
    assert array(kernel)[0, 0] == pytest.approx(0.95)
    assert array(bias)[0] == 1.0


def test_rates_slow_down_the_layers_they_name() -> None:
    phase = Phase(steps=1, learning_rate=0.1, rates=(("trunk", 0.1),))
    optimizer = make_optimizer(dataclasses.replace(RECIPE, weight_decay=0.0), phase, ["trunk_0/bias", "head/bias"])
    weights = [np.ones(1, np.float32)] * 2
    (slow, fast), _ = optimizer.update(weights, weights, optimizer.begin(weights), np.float32(0.1))
    assert 1 - array(slow)[0] == pytest.approx(0.1 * (1 - array(fast)[0]), rel=1e-3)


def test_gradients_are_clipped_by_the_norm_of_all_of_them() -> None:
    large = [np.array([3.0], np.float32), np.array([4.0], np.float32)]
    assert [float(array(g)[0]) for g in clip_by_global_norm(large, 1.0)] == pytest.approx([0.6, 0.8])
    assert [float(array(g)[0]) for g in clip_by_global_norm(large, 10.0)] == pytest.approx([3.0, 4.0])


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    phase = Phase(steps=110, learning_rate=1.0, warmup=10)
    rates = [learning_rate(phase, step) for step in (0, 9, 60, 110, 500)]
    assert rates == pytest.approx([0.1, 1.0, 0.505, 0.01, 0.01], abs=0.01)


def test_learning_rates_follow_the_global_batch() -> None:
    doubled = dataclasses.replace(RECIPE, pipeline=dataclasses.replace(RECIPE.pipeline, batch=8))
    assert [phase.learning_rate for phase in for_batch(doubled, 4).phases] == pytest.approx([2e-2, 1e-2])
    assert for_batch(RECIPE, 4) == RECIPE


def test_the_average_follows_closely_at_first_and_slowly_later() -> None:
    average, value = [np.zeros(1, np.float32)], [np.ones(1, np.float32)]
    assert float(array(follow(average, value, 0.998, np.float32(0))[0])[0]) == pytest.approx(0.9)
    assert float(array(follow(average, value, 0.998, np.float32(1e6))[0])[0]) == pytest.approx(0.002, rel=1e-3)


def test_whole_numbers_are_copied_into_the_average() -> None:
    seeds = follow([np.array([1, 2], np.uint32)], [np.array([3, 4], np.uint32)], 0.9, np.float32(5))
    np.testing.assert_array_equal(array(seeds[0]), [3, 4])


def test_the_loss_scale_halves_after_an_overflow_and_doubles_after_a_long_time_without() -> None:
    scale = first_loss_scale(half=True)
    overflowed = next_loss_scale(scale, all_finite([np.array([np.inf], np.float32)]))
    assert float(array(overflowed.factor)) == float(scale.factor) / 2
    patient = scale._replace(since=np.float32(999))
    grown = next_loss_scale(patient, all_finite([np.ones(1, np.float32)]))
    assert float(array(grown.factor)) == 2 * float(scale.factor)
    assert float(array(grown.since)) == 0
