"""The WebSocket protocol on a transport that the test watches: what comes at a moment that no client can choose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.streams.socket import EndingTransport, StreamProtocol
from tests.websocket_bytes import Opcode, pack, request


class WatchedTransport(asyncio.Transport):
    """One whose client reads nothing unless the test says so.

    Attributes:
        written: all of it.
        events: what was done to it besides writing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.events: list[str] = []

    def write(self, data: Any) -> None:
        assert "end" not in self.events, "that is an error in every event loop"
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.events.append("end")

    def is_closing(self) -> bool:
        return "close" in self.events

    def close(self) -> None:
        self.events.append("close")

    def abort(self) -> None:
        self.events.append("abort")

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes everything."""
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


Test = Callable[[StreamProtocol, WatchedTransport], Any]


def on_a_connection(test: Test) -> None:
    """Run a coroutine with a connection on which nothing has been said."""

    async def run() -> None:
        config = uvicorn.Config(accepting, log_config=None, ws_per_message_deflate=False, lifespan="off")
        config.load()
        protocol = StreamProtocol(config, ServerState(), {}, asyncio.get_running_loop())
        transport = WatchedTransport()
        protocol.connection_made(transport)
        await test(protocol, transport)
        protocol.connection_lost(None)
        async with asyncio.timeout(5):
            await asyncio.gather(*protocol.tasks)

    asyncio.run(run())


def test_nonsense_before_the_answer_is_refused_and_nothing_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test(protocol: StreamProtocol, transport: WatchedTransport) -> None:
        protocol.data_received(request())
        protocol.data_received(b"\xff" * 100)
        await asyncio.sleep(0.01)
        assert transport.written.startswith(b"HTTP/1.1 400")
        assert transport.events == ["close"] or transport.events == ["close", "close"]

    on_a_connection(test)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def test_what_follows_an_error_is_thrown_away(caplog: pytest.LogCaptureFixture) -> None:
    async def test(protocol: StreamProtocol, transport: WatchedTransport) -> None:
        protocol.data_received(request())
        await asyncio.sleep(0.01)
        protocol.data_received(pack(Opcode.TEXT, b"\xff") + pack(Opcode.PING) + pack(Opcode.TEXT, b"a"))
        protocol.data_received(pack(Opcode.PING))
        await asyncio.sleep(0.01)
        assert transport.events == ["end"]
        assert b"text that is not UTF-8" in transport.written

    on_a_connection(test)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def test_pongs_that_nobody_reads_are_not_kept() -> None:
    async def test(protocol: StreamProtocol, transport: WatchedTransport) -> None:
        protocol.data_received(request())
        await asyncio.sleep(0.01)
        protocol.pause_writing()
        before = len(transport.written)
        protocol.data_received(pack(Opcode.PING, b"x" * 100) * 100)
        assert len(transport.written) == before
        protocol.resume_writing()
        protocol.data_received(pack(Opcode.PING, b"x" * 100))
        assert len(transport.written) > before

    on_a_connection(test)


def test_a_message_in_a_million_pieces_is_not_taken() -> None:
    async def test(protocol: StreamProtocol, transport: WatchedTransport) -> None:
        protocol.data_received(request())
        await asyncio.sleep(0.01)
        protocol.data_received(pack(Opcode.BINARY, b"a", final=False) + pack(Opcode.MORE, b"a", final=False) * 1000)
        assert transport.events == []
        protocol.data_received(pack(Opcode.MORE, b"a", final=False) * 200)
        assert transport.events == ["end"]

    on_a_connection(test)


def test_a_transport_that_is_closed_is_gone_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streams.socket._UNREAD_SECONDS", 0.02)

    async def test() -> None:
        transport = WatchedTransport()
        ending = EndingTransport(transport, asyncio.get_running_loop())
        ending.close()
        ending.close()
        assert transport.events == ["close", "close"]
        await asyncio.sleep(0.1)
        assert transport.events == ["close", "close", "abort"]

    asyncio.run(test())


def test_a_transport_that_is_lost_is_not_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streams.socket._UNREAD_SECONDS", 0.02)

    async def test() -> None:
        transport = WatchedTransport()
        ending = EndingTransport(transport, asyncio.get_running_loop())
        ending.close()
        ending.lost()
        ending.close()
        await asyncio.sleep(0.1)
        assert "abort" not in transport.events

    asyncio.run(test())
