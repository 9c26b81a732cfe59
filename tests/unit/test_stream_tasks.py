"""Coroutines that live and end together."""

from __future__ import annotations

import asyncio

import pytest

from service.streams.ending import ClientGone, restart
from service.streams.tasks import first_of


async def wait(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def fail(error: Exception) -> None:
    raise error


async def done() -> None:
    pass


def test_the_first_to_end_ends_the_others() -> None:
    async def test() -> None:
        ended: list[str] = []
        await first_of(wait(ended, "one"), done(), wait(ended, "two"))
        assert sorted(ended) == ["one", "two"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(test())


def test_of_two_errors_the_earlier_argument_is_raised() -> None:
    with pytest.raises(ClientGone):
        asyncio.run(first_of(fail(ClientGone(1006)), fail(restart())))


def test_a_bug_is_raised_before_anything_else() -> None:
    with pytest.raises(KeyError):
        asyncio.run(first_of(fail(ClientGone(1006)), fail(KeyError())))


def test_cancelling_ends_all() -> None:
    async def test() -> None:
        ended: list[str] = []
        task = asyncio.create_task(first_of(wait(ended, "one"), wait(ended, "two")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == ["one", "two"]

    asyncio.run(test())
