"""All streams together: how many there may be, and how they are drained."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from service.streams.closing import CloseCode
from service.streams.ending import StreamEnd
from service.streams.registry import Streams


class Ending:
    """A stream that ends when it is asked to, if it is willing."""

    def __init__(self, willing: bool = True) -> None:
        self.told: list[str] = []
        self._willing = willing
        self._ended = asyncio.Event()

    def drain(self) -> None:
        self.told.append("drain")
        if self._willing:
            self._ended.set()

    def give_up(self) -> None:
        self.told.append("give up")
        self._ended.set()

    async def run(self, streams: Streams) -> None:
        with streams.place(self, "127.0.0.1"):
            await self._ended.wait()


def code_of(streams: Streams, address: str | None) -> CloseCode | None:
    """What one more stream from there would end with; None if there is room."""
    try:
        with streams.place(Ending(), address):
            return None
    except StreamEnd as end:
        return end.code


def test_there_is_room_for_as_many_as_may_be() -> None:
    streams = Streams(3, 2, 1)
    with ExitStack() as places:
        for address in ("10.0.0.1", "10.0.0.1"):
            places.enter_context(streams.place(Ending(), address))
        assert code_of(streams, "10.0.0.1") == CloseCode.TRY_LATER
        assert code_of(streams, "10.0.0.2") is None
        places.enter_context(streams.place(Ending(), "10.0.0.2"))
        assert len(streams) == 3
        assert code_of(streams, "10.0.0.3") == CloseCode.TRY_LATER
    assert len(streams) == 0
    assert code_of(streams, "10.0.0.1") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [("2001:db8::1", "2001:db8::ffff:1"), ("::ffff:10.0.0.1", "::ffff:10.0.0.1"), ("unix", "unix")],
)
def test_addresses_of_one_client_count_together(first: str, second: str) -> None:
    streams = Streams(9, 1, 1)
    with streams.place(Ending(), first):
        assert code_of(streams, second) == CloseCode.TRY_LATER


@pytest.mark.parametrize(
    ("first", "second"),
    [("2001:db8::1", "2001:db8:0:1::1"), ("::ffff:10.0.0.1", "::ffff:10.0.0.2"), (None, None)],
)
def test_addresses_of_several_clients_do_not(first: str | None, second: str | None) -> None:
    streams = Streams(9, 1, 1)
    with streams.place(Ending(), first):
        assert code_of(streams, second) is None


def test_draining_asks_first_and_ends_those_that_take_too_long() -> None:
    async def test() -> None:
        streams = Streams(9, 9, 1)
        willing, slow = Ending(), Ending(willing=False)
        tasks = [asyncio.create_task(stream.run(streams)) for stream in (willing, slow)]
        await asyncio.sleep(0)
        await streams.drain(0.05)
        assert (willing.told, slow.told) == (["drain"], ["drain", "give up"])
        assert len(streams) == 0
        assert code_of(streams, "127.0.0.1") == CloseCode.RESTART
        await asyncio.gather(*tasks)

    asyncio.run(test())


def test_draining_nothing_takes_no_time() -> None:
    async def test() -> None:
        async with asyncio.timeout(1):
            await Streams(9, 9, 1).drain(60)

    asyncio.run(test())
