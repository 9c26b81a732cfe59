"""All streams of an application: how many there may be, and how they end together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from service.problems import Problem
from service.streams.closing import CloseCode
from service.streams.ending import StreamEnd, restart

_IPV6_NETWORK = 64  # bits; whoever has one address of it has them all
_TO_GIVE_UP = 1.0  # seconds


class Endable(Protocol):
    """A stream, as seen from here."""

    def drain(self) -> None:
        """Answer what is there, then end."""
        ...

    def give_up(self) -> None:
        """End now."""
        ...


class Streams:
    """The streams that there are. Only from the event loop's thread.

    Args:
        most: at the same time.
        most_per_address: of them from one address; IPv6 addresses count by their /64 network.
        at_work: how many pictures of all streams may be in the pipeline at once, so that there is always room for
            others. Streams take turns in the order in which they ask, which gives each the same share.

    Attributes:
        turns: to be held by who has a picture in the pipeline.
    """

    def __init__(self, most: int, most_per_address: int, at_work: int) -> None:
        self.turns = asyncio.Semaphore(at_work)
        self._most = most
        self._most_per_address = most_per_address
        self._streams: set[Endable] = set()
        self._by_address: Counter[str] = Counter()
        self._draining = False
        self._left = asyncio.Event()

    def __len__(self) -> int:
        return len(self._streams)

    @contextmanager
    def place(self, stream: Endable, address: str | None) -> Iterator[None]:
        """Count a stream for the length of the block.

        Args:
            stream: it.
            address: of its client; None (a socket without one) is not limited on its own.

        Raises:
            StreamEnd: there is no room for it, or the service stops.
        """
        key = None if address is None else _network(address)
        self._require_room(key)
        self._streams.add(stream)
        if key is not None:
            self._by_address[key] += 1
        try:
            yield
        finally:
            self._streams.discard(stream)
            self._leave(key)

    async def drain(self, seconds: float) -> None:
        """Take no new streams; let each answer what it works on and end, and end those at once that take longer."""
        self._draining = True
        for stream in tuple(self._streams):
            stream.drain()
        if await self._empty_within(seconds):
            return
        for stream in tuple(self._streams):
            stream.give_up()
        await self._empty_within(_TO_GIVE_UP)

    def _require_room(self, key: str | None) -> None:
        if self._draining:
            raise restart()
        if len(self._streams) >= self._most:
            raise _too_many(f"There are {len(self._streams)} streams, as many as may be.")
        if key is not None and self._by_address[key] >= self._most_per_address:
            raise _too_many(f"There are {self._by_address[key]} streams from {key}, as many as may be.")

    def _leave(self, key: str | None) -> None:
        if key is not None:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]
        self._left.set()

    async def _empty_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self._streams:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True


def _too_many(detail: str) -> StreamEnd:
    return StreamEnd(CloseCode.TRY_LATER, Problem(503, "too-many-streams", f"{detail} Come back later."))


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address) or parsed.ipv4_mapped:
        return str(parsed)
    return str(IPv6Address(int(parsed) >> _IPV6_NETWORK << _IPV6_NETWORK))
