"""The inbox of a stream: the newest picture, changes before pictures, credits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.problems import Problem
from service.streams.closing import CloseCode
from service.streams.ending import StreamEnd
from service.streams.header import Header, Kind
from service.streams.inbox import Inbox, Picture
from service.streams.messages import StreamOptions
from service.streams.pace import Pace


class Clock:
    """Time as the test wants it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def numbered(sequence: int) -> Picture:
    return Picture(Header(Kind.PICTURE, sequence, 0.0), b"", 0.0)


def in_loop(test: Callable[[Inbox, Clock], Coroutine[Any, Any, None]]) -> None:
    """Run a test on an inbox that may be taken from once a second; waiting for more than a while fails."""
    clock = Clock()

    async def limited() -> None:
        inbox = Inbox(Pace(1.0, clock))
        async with asyncio.timeout(5):
            await test(inbox, clock)

    asyncio.run(limited())


async def taken(inbox: Inbox) -> int:
    item = await inbox.take()
    assert isinstance(item, Picture)
    return item.header.sequence


def test_the_newest_picture_is_taken_and_the_others_told() -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.credits = 4
        for sequence in (3, 5, 8):
            inbox.put(numbered(sequence))
        assert await taken(inbox) == 8
        assert inbox.acknowledge(1) == [3, 5]
        assert inbox.acknowledge(0) == []
        assert inbox.dropped == 2

    in_loop(test)


@pytest.mark.parametrize("most", [1, 2, 16])
def test_credits_are_all_that_may_be_under_way(most: int) -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.credits = most
        for sequence in range(most):
            inbox.put(numbered(sequence))
        with pytest.raises(StreamEnd) as over:
            inbox.put(numbered(most))
        assert over.value.code == CloseCode.TOO_MANY
        assert await taken(inbox) == most - 1
        with pytest.raises(StreamEnd):  # taken is not answered
            inbox.put(numbered(most))
        inbox.acknowledge(1)
        for sequence in range(most):
            inbox.put(numbered(100 + sequence))
        with pytest.raises(StreamEnd):
            inbox.put(numbered(200))

    in_loop(test)


@pytest.mark.parametrize("second", [7, 6])
def test_numbers_have_to_grow(second: int) -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.put(numbered(7))
        with pytest.raises(StreamEnd) as wrong:
            inbox.put(numbered(second))
        assert wrong.value.code == CloseCode.BAD_SEQUENCE

    in_loop(test)


def test_changes_come_before_pictures_and_in_order() -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.put(numbered(0))
        problem = Problem(422, "invalid-parameters", "no")
        inbox.change(StreamOptions(draw=True))
        inbox.change(problem)
        assert await inbox.take() == StreamOptions(draw=True)
        assert await inbox.take() is problem
        assert await taken(inbox) == 0

    in_loop(test)


def test_what_comes_wakes_who_waits() -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        for come in (
            lambda: inbox.put(numbered(0)),
            lambda: inbox.change(StreamOptions()),
            inbox.close,
        ):
            waiting = asyncio.create_task(inbox.take())
            await asyncio.sleep(0)
            assert not waiting.done()
            come()
            item = await waiting
            assert isinstance(item, (Picture, StreamOptions)) or item is None

    in_loop(test)


def test_a_picture_waits_until_it_is_due_and_gives_way_to_newer_ones() -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.credits = 3
        clock.now = 100.0
        inbox.put(numbered(0))
        inbox.put(numbered(1))
        assert await taken(inbox) == 1
        assert inbox.acknowledge(1) == [0]
        inbox.put(numbered(2))
        assert await taken(inbox) == 2  # who was late may make up for one
        inbox.acknowledge(1)
        inbox.put(numbered(3))
        waiting = asyncio.create_task(taken(inbox))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        clock.now += 1
        inbox.put(numbered(4))
        assert await waiting == 4
        assert inbox.acknowledge(1) == [3]

    in_loop(test)


def test_once_closed_it_gives_what_it_has_and_takes_nothing() -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.put(numbered(0))
        inbox.change(StreamOptions())
        inbox.close()
        inbox.put(numbered(1))
        assert await inbox.take() == StreamOptions()
        assert await taken(inbox) == 0
        assert await inbox.take() is None

    in_loop(test)


def test_what_came_while_a_picture_waited_for_its_turn_takes_its_place() -> None:
    async def test(inbox: Inbox, clock: Clock) -> None:
        inbox.put(numbered(0))
        picture = await inbox.take()
        assert isinstance(picture, Picture)
        assert inbox.newer(picture) is picture
        inbox.put(numbered(1))
        assert inbox.newer(picture).header.sequence == 1
        assert inbox.acknowledge(1) == [0]
        assert inbox.dropped == 1

    in_loop(test)
