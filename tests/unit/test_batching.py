from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest
from numpy.typing import NDArray

from service.batching import Answer, Batcher, Closed, DeadlineExceeded, EngineFailed, Priority, QueueFull

WAIT = 60.0


class Call:
    """Gives each input's first value back, and stops while its gate is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: BaseException | None = None

    def __call__(self, images: NDArray[np.uint8]) -> list[int]:
        batch = [int(image[0, 0, 0]) for image in images]
        self.batches.append(batch)
        self.entered.set()
        assert self.gate.wait(WAIT)
        if self.failure is not None:
            raise self.failure
        return batch


class Sizes:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def ran_batch(self, size: int, seconds: float) -> None:
        assert seconds >= 0
        self.sizes.append(size)


def image(value: int, side: int = 4) -> NDArray[np.uint8]:
    return np.full((side, side, 3), value, np.uint8)


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    running = Batcher(capacity=100)
    yield running
    running.close(WAIT)


@pytest.fixture
def call() -> Call:
    return Call()


def hold(batcher: Batcher, call: Call) -> Future[Answer]:
    """Keep the worker busy with input 0 until the call's gate is opened."""
    call.gate.clear()
    future = batcher.submit(call, image(0))
    assert call.entered.wait(WAIT)
    return future


def test_a_lone_input_is_run_at_once(batcher: Batcher, call: Call) -> None:
    assert batcher.submit(call, image(7), limit=8).result(WAIT).value == 7
    assert call.batches == [[7]]


def test_inputs_that_queued_up_behind_a_call_share_the_next_one(batcher: Batcher, call: Call) -> None:
    first = hold(batcher, call)
    others = [batcher.submit(call, image(i), limit=8) for i in range(1, 6)]
    call.gate.set()
    assert [future.result(WAIT).value for future in (first, *others)] == [0, 1, 2, 3, 4, 5]
    assert call.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_group_is_no_larger_than_its_limit(batcher: Batcher, call: Call) -> None:
    hold(batcher, call)
    others = [batcher.submit(call, image(i), limit=2) for i in range(1, 6)]
    call.gate.set()
    for future in others:
        future.result(WAIT)
    assert call.batches == [[0], [1, 2], [3, 4], [5]]


def test_inputs_of_other_shapes_or_calls_are_not_grouped_but_keep_their_turn(batcher: Batcher, call: Call) -> None:
    other = Call()
    hold(batcher, call)
    futures = [
        batcher.submit(call, image(1), limit=8),
        batcher.submit(call, image(2, side=8), limit=8),
        batcher.submit(other, image(3), limit=8),
        batcher.submit(call, image(4), limit=8),
        batcher.submit(call, image(5, side=8), limit=8),
    ]
    call.gate.set()
    assert [future.result(WAIT).value for future in futures] == [1, 2, 3, 4, 5]
    assert call.batches == [[0], [1, 4], [2, 5]]
    assert other.batches == [[3]]


def test_interactive_inputs_go_before_background_ones(batcher: Batcher, call: Call) -> None:
    hold(batcher, call)
    futures = [batcher.submit(call, image(i), priority=Priority.BACKGROUND) for i in (1, 2)]
    futures += [batcher.submit(call, image(i)) for i in (3, 4)]
    call.gate.set()
    for future in futures:
        future.result(WAIT)
    assert call.batches == [[0], [3], [4], [1], [2]]


def test_a_full_queue_refuses_and_says_when_to_come_back(call: Call) -> None:
    batcher = Batcher(capacity=2)
    hold(batcher, call)
    accepted = [batcher.submit(call, image(i)) for i in (1, 2)]
    with pytest.raises(QueueFull) as refusal:
        batcher.submit(call, image(3))
    assert refusal.value.retry_after >= 1
    call.gate.set()
    assert [future.result(WAIT).value for future in accepted] == [1, 2]
    assert batcher.submit(call, image(4)).result(WAIT).value == 4
    assert batcher.close(WAIT)


def test_background_inputs_do_not_use_up_the_room_of_interactive_ones(call: Call) -> None:
    batcher = Batcher(capacity=1)
    hold(batcher, call)
    batcher.submit(call, image(1), priority=Priority.BACKGROUND)
    with pytest.raises(QueueFull):
        batcher.submit(call, image(2), priority=Priority.BACKGROUND)
    accepted = batcher.submit(call, image(3))
    call.gate.set()
    assert accepted.result(WAIT).value == 3
    assert batcher.close(WAIT)


def test_an_input_whose_deadline_passes_while_it_waits_is_never_run(batcher: Batcher, call: Call) -> None:
    hold(batcher, call)
    late = batcher.submit(call, image(1), deadline=time.monotonic() + 0.01)
    in_time = batcher.submit(call, image(2))
    time.sleep(0.05)
    call.gate.set()
    assert in_time.result(WAIT).value == 2
    with pytest.raises(DeadlineExceeded):
        late.result(WAIT)
    assert call.batches == [[0], [2]]


def test_a_coroutine_stops_waiting_at_its_deadline_even_while_its_call_runs(batcher: Batcher, call: Call) -> None:
    call.gate.clear()

    async def wait() -> None:
        await batcher.run(call, image(1), deadline=time.monotonic() + 0.05)

    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        asyncio.run(wait())
    assert time.monotonic() - start < 30
    call.gate.set()
    assert batcher.submit(call, image(2)).result(WAIT).value == 2


def test_a_cancelled_input_is_not_run_and_makes_room(call: Call) -> None:
    batcher = Batcher(capacity=1)
    hold(batcher, call)
    abandoned = batcher.submit(call, image(1))
    assert abandoned.cancel()
    accepted = batcher.submit(call, image(2))
    call.gate.set()
    assert accepted.result(WAIT).value == 2
    assert call.batches == [[0], [2]]
    assert batcher.close(WAIT)


def test_a_coroutine_that_is_cancelled_takes_its_input_back(batcher: Batcher, call: Call) -> None:
    hold(batcher, call)

    async def abandon() -> None:
        task = asyncio.create_task(batcher.run(call, image(1), deadline=time.monotonic() + WAIT))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(abandon())
    call.gate.set()
    batcher.submit(call, image(2)).result(WAIT)
    assert call.batches == [[0], [2]]


@pytest.mark.parametrize("failure", [RuntimeError("broken"), MemoryError(), SystemExit(3)])
def test_a_call_that_raises_fails_only_its_own_group(batcher: Batcher, call: Call, failure: BaseException) -> None:
    broken = Call()
    broken.failure = failure
    hold(batcher, call)
    bad = [batcher.submit(broken, image(i), limit=8) for i in (1, 2)]
    good = batcher.submit(call, image(3))
    call.gate.set()
    for future in bad:
        with pytest.raises(EngineFailed) as error:
            future.result(WAIT)
        assert error.value.__cause__ is failure
    assert good.result(WAIT).value == 3
    assert batcher.alive


def test_a_call_with_the_wrong_number_of_results_fails_instead_of_mixing_them_up(batcher: Batcher) -> None:
    with pytest.raises(EngineFailed):
        batcher.submit(lambda _: [1, 2], image(0)).result(WAIT)


def test_an_observer_that_raises_harms_nobody(call: Call) -> None:
    class Broken:
        def ran_batch(self, size: int, seconds: float) -> None:
            raise RuntimeError

    batcher = Batcher(4, Broken())
    assert [batcher.submit(call, image(i)).result(WAIT).value for i in (1, 2)] == [1, 2]
    assert batcher.close(WAIT)


def test_the_observer_is_told_the_size_of_every_group(call: Call) -> None:
    sizes = Sizes()
    batcher = Batcher(10, sizes)
    hold(batcher, call)
    futures = [batcher.submit(call, image(i), limit=8) for i in (1, 2, 3)]
    call.gate.set()
    for future in futures:
        future.result(WAIT)
    assert batcher.close(WAIT)
    assert sizes.sizes == [1, 3]


def test_closing_runs_what_is_waiting_and_refuses_what_comes_after(batcher: Batcher, call: Call) -> None:
    first = hold(batcher, call)
    waiting = batcher.submit(call, image(1))
    closer = threading.Thread(target=batcher.close, args=(WAIT,))
    closer.start()
    while batcher.alive:
        time.sleep(0.001)
    with pytest.raises(Closed):
        batcher.submit(call, image(2))
    call.gate.set()
    assert (first.result(WAIT).value, waiting.result(WAIT).value) == (0, 1)
    closer.join(WAIT)
    assert not closer.is_alive()


def test_what_is_still_waiting_when_closing_takes_too_long_is_told_so(call: Call) -> None:
    batcher = Batcher(10)
    hold(batcher, call)
    waiting = batcher.submit(call, image(1))
    assert not batcher.close(0.05)
    with pytest.raises(Closed):
        waiting.result(WAIT)
    call.gate.set()
    assert batcher.close(WAIT)


def test_many_threads_each_get_their_own_results(batcher: Batcher, call: Call) -> None:
    wrong: list[tuple[int, int]] = []

    def ask(value: int) -> None:
        for _ in range(20):
            got = batcher.submit(call, image(value, side=4 + value % 3), limit=4).result(WAIT).value
            if got != value:
                wrong.append((value, got))

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert max(map(len, call.batches)) <= 4


@pytest.fixture
def lanes() -> Iterator[Batcher]:
    running = Batcher(capacity=100, lanes=2)
    yield running
    running.close(WAIT)


def test_background_inputs_run_side_by_side_in_lanes(lanes: Batcher) -> None:
    first, second = Call(), Call()
    first.gate.clear()
    second.gate.clear()
    futures = [lanes.submit(call, image(1), priority=Priority.BACKGROUND) for call in (first, second)]
    assert first.entered.wait(WAIT)
    assert second.entered.wait(WAIT)
    first.gate.set()
    second.gate.set()
    assert [future.result(WAIT).value for future in futures] == [1, 1]


def test_an_interactive_input_does_not_wait_for_lanes_that_are_busy(lanes: Batcher, call: Call) -> None:
    slow = Call()
    slow.gate.clear()
    background = [lanes.submit(slow, image(i), priority=Priority.BACKGROUND) for i in range(3)]
    assert slow.entered.wait(WAIT)
    assert lanes.submit(call, image(7)).result(WAIT).value == 7
    slow.gate.set()
    assert [future.result(WAIT).value for future in background] == [0, 1, 2]


def test_no_lane_begins_while_an_interactive_input_is_run(lanes: Batcher, call: Call) -> None:
    call.gate.clear()
    interactive = lanes.submit(call, image(1))
    assert call.entered.wait(WAIT)
    background = Call()
    future = lanes.submit(background, image(2), priority=Priority.BACKGROUND)
    assert not background.entered.wait(0.2)
    call.gate.set()
    assert interactive.result(WAIT).value == 1
    assert future.result(WAIT).value == 2


def test_closing_runs_what_waits_for_a_lane(lanes: Batcher) -> None:
    slow = Call()
    slow.gate.clear()
    futures = [lanes.submit(slow, image(i), priority=Priority.BACKGROUND) for i in range(5)]
    assert slow.entered.wait(WAIT)
    closing = threading.Thread(target=lanes.close, args=(WAIT,))
    closing.start()
    slow.gate.set()
    closing.join(WAIT)
    assert [future.result(WAIT).value for future in futures] == [0, 1, 2, 3, 4]
    with pytest.raises(Closed):
        lanes.submit(slow, image(1), priority=Priority.BACKGROUND)


def test_a_lane_goes_on_after_a_call_that_failed(lanes: Batcher) -> None:
    broken = Call()
    broken.failure = ValueError("broken")
    for _ in range(4):
        with pytest.raises(EngineFailed):
            lanes.submit(broken, image(1), priority=Priority.BACKGROUND).result(WAIT)
    assert lanes.alive
