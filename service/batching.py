"""The micro-batcher: the one queue in front of the engines.

Callers hand in one network input each. A worker thread takes what is waiting, groups inputs that go through the
same call at the same shape, and runs the call. It never waits for company: a lone input is run at once, and inputs
are grouped only because they queued up behind a running call.

Background inputs may have lanes: threads of their own that run calls side by side, each on a part of the cores. One
call after the other on all cores answers soonest, but its threads wait for each other at every layer, and for long if
a core has other work to do, as it has while videos are decoded and encoded. A lane begins no call while an interactive
one waits or runs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

T = TypeVar("T")
BatchCall = Callable[[NDArray[np.uint8]], Sequence[T]]
"""Takes uint8 ``[B, H, W, 3]``, gives one result for each of the B inputs, in order."""


class Priority(IntEnum):
    """Waiting interactive inputs always go before waiting background ones."""

    INTERACTIVE = 0
    BACKGROUND = 1


class Unavailable(Exception):
    """The input was not run; trying again in `retry_after` seconds may work."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Unavailable):
    """As many inputs are waiting as may wait."""


class DeadlineExceeded(Unavailable):
    """The input's deadline passed before its result was there."""


class Closed(Unavailable):
    """The batcher is shutting down."""


class EngineFailed(Exception):
    """The engine raised, or gave the wrong number of results; the cause is chained."""


class Answer(NamedTuple):
    """A result with the seconds it waited and the seconds its engine call took (shared with its group)."""

    value: Any
    queued: float
    ran: float


class BatchObserver(Protocol):
    """Told of every engine call, on the worker thread."""

    def ran_batch(self, size: int, seconds: float) -> None:
        """An engine call over `size` inputs took `seconds`."""
        ...


@dataclass(eq=False)
class _Entry:
    call: BatchCall[Any]
    image: NDArray[np.uint8]
    limit: int
    deadline: float
    queued_at: float
    future: Future[Answer] = field(default_factory=Future)

    def groups_with(self, other: _Entry) -> bool:
        return self.call == other.call and self.image.shape == other.image.shape


class Batcher:
    """Runs engine calls one at a time, for every part of the service.

    Args:
        capacity: how many inputs may wait, for each priority (so that jobs cannot shut out people).
        observer: told of each engine call.
        lanes: how many background calls may run side by side; 0: they take turns with the interactive ones.
    """

    def __init__(self, capacity: int, observer: BatchObserver | None = None, lanes: int = 0) -> None:
        self._capacity = capacity
        self._observer = observer
        self._waiting: dict[Priority, deque[_Entry]] = {priority: deque() for priority in Priority}
        self._changed = threading.Condition()
        self._tasks: deque[Callable[[], object]] = deque()
        self._closing = False
        self._seconds_per_input = 0.0
        self._interactive_running = False
        own = (Priority.INTERACTIVE,) if lanes else tuple(Priority)
        self._threads = [threading.Thread(target=self._work, args=(own,), name="yaop-engine", daemon=True)]
        self._threads += [
            threading.Thread(target=self._work_in_lane, name="yaop-lane", daemon=True) for _ in range(lanes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """How many inputs are waiting now."""
        return sum(len(queue) for queue in self._waiting.values())

    @property
    def alive(self) -> bool:
        """Whether new inputs are taken and will be run."""
        return all(thread.is_alive() for thread in self._threads) and not self._closing

    def retry_after(self) -> float:
        """Seconds after which what is waiting now should be done, judged by recent calls."""
        return max(1.0, self.depth * self._seconds_per_input)

    def submit(
        self,
        call: BatchCall[Any],
        image: NDArray[np.uint8],
        *,
        deadline: float = float("inf"),
        priority: Priority = Priority.INTERACTIVE,
        limit: int = 1,
    ) -> Future[Answer]:
        """Queue one network input uint8 ``[H, W, 3]``. Cancel the future to take it back while it waits.

        Args:
            call: what to run; inputs with an equal call and shape may share one run.
            image: the network input.
            deadline: time (of `time.monotonic`) after which the result is of no use.
            priority: which queue to wait in.
            limit: most inputs this call may be run with at once.

        Raises:
            QueueFull, Closed: at once. The future may raise DeadlineExceeded, Closed or EngineFailed.
        """
        entry = _Entry(call, image, limit, deadline, time.monotonic())
        with self._changed:
            if self._closing:
                raise Closed("The service is shutting down.")
            self._make_room(self._waiting[priority])
            self._waiting[priority].append(entry)
            self._changed.notify_all()
        return entry.future

    async def run(self, call: BatchCall[Any], image: NDArray[np.uint8], *, deadline: float, **how: Any) -> Answer:
        """`submit` for coroutines: waits for the result, gives up at the deadline or when cancelled."""
        future = self.submit(call, image, deadline=deadline, **how)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._late() from None

    def run_between_calls(self, task: Callable[[], object]) -> None:
        """Have the worker run `task` before its next engine call. What the task raises is logged."""
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """Take nothing new, run what is waiting, stop. What is left after `timeout` seconds fails with Closed.

        Returns:
            Whether all threads have stopped.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        end = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        with self._changed:
            for queue in self._waiting.values():
                while queue:
                    _fail(queue.popleft(), Closed("The service is shutting down."))
        return not any(thread.is_alive() for thread in self._threads)

    def _make_room(self, queue: deque[_Entry]) -> None:
        if len(queue) < self._capacity:
            return
        kept = [entry for entry in queue if self._wanted(entry)]
        queue.clear()
        queue.extend(kept)
        if len(queue) >= self._capacity:
            raise QueueFull(f"{len(queue)} pictures are already waiting.", self.retry_after())

    def _wanted(self, entry: _Entry) -> bool:
        if entry.future.cancelled():
            return False
        if entry.deadline <= time.monotonic():
            _fail(entry, self._late())
            return False
        return True

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded("The result was not ready before the deadline.", self.retry_after())

    def _work(self, priorities: Sequence[Priority]) -> None:
        while True:
            with self._changed:
                while not self._any_waiting(priorities) and not self._tasks:
                    if self._closing:
                        return
                    self._changed.wait()
                task = self._tasks.popleft() if self._tasks else None
                group = [] if task else self._take_group(priorities)
                self._interactive_running = bool(group)
            if task:
                _run_task(task)
            if group:
                self._run_group(group)
                with self._changed:
                    self._interactive_running = False
                    self._changed.notify_all()

    def _work_in_lane(self) -> None:
        while True:
            with self._changed:
                while not self._lane_may_begin():
                    if self._closing and not self._any_waiting((Priority.BACKGROUND,)):
                        return
                    self._changed.wait()
                group = self._take_group((Priority.BACKGROUND,))
            if group:
                self._run_group(group)

    def _any_waiting(self, priorities: Sequence[Priority]) -> bool:
        return any(self._waiting[priority] for priority in priorities)

    def _lane_may_begin(self) -> bool:
        interactive = self._interactive_running or self._any_waiting((Priority.INTERACTIVE,))
        return self._any_waiting((Priority.BACKGROUND,)) and not interactive

    def _take_group(self, priorities: Sequence[Priority]) -> list[_Entry]:
        """The oldest entry of the most urgent queue, and others that can share its call, in order of urgency."""
        group: list[_Entry] = []
        for queue in (self._waiting[priority] for priority in priorities):
            others: list[_Entry] = []
            while queue and (not group or len(group) < group[0].limit):
                entry = queue.popleft()
                if not self._wanted(entry):
                    continue
                if group and not entry.groups_with(group[0]):
                    others.append(entry)
                elif entry.future.set_running_or_notify_cancel():
                    group.append(entry)
            queue.extendleft(reversed(others))
        return group

    def _run_group(self, group: list[_Entry]) -> None:
        start = time.monotonic()
        try:
            values = group[0].call(_stack(group))
            if len(values) != len(group):
                raise EngineFailed(f"{len(values)} results for {len(group)} inputs")
        except BaseException as error:  # whatever it was, only this group may suffer from it
            logger.exception("engine call failed", extra={"shape": group[0].image.shape, "size": len(group)})
            for entry in group:
                _fail(entry, _chained(error))
            return
        ran = time.monotonic() - start
        for entry, value in zip(group, values, strict=True):
            entry.future.set_result(Answer(value, start - entry.queued_at, ran))
        self._note(len(group), ran)

    def _note(self, size: int, seconds: float) -> None:
        self._seconds_per_input += 0.2 * (seconds / size - self._seconds_per_input)
        try:
            if self._observer is not None:
                self._observer.ran_batch(size, seconds)
        except Exception:  # nobody's picture depends on it
            logger.exception("the observer of engine calls failed")


def _stack(group: list[_Entry]) -> NDArray[np.uint8]:
    # A view of a lone input: copying it would only cost time.
    return group[0].image[None] if len(group) == 1 else np.stack([entry.image for entry in group])


def _run_task(task: Callable[[], object]) -> None:
    try:
        task()
    except Exception:  # the engines' calls go on
        logger.exception("a task between engine calls failed")


def _chained(error: BaseException) -> EngineFailed:
    failure = EngineFailed("the engine failed")
    failure.__cause__ = error
    return failure


def _fail(entry: _Entry, error: Exception) -> None:
    if not entry.future.done() and (entry.future.running() or entry.future.set_running_or_notify_cancel()):
        entry.future.set_exception(error)
