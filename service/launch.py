"""Run the application in this process: listen, load, say where it is, and stop cleanly."""

from __future__ import annotations

import math
import signal
import socket
import sys
from types import FrameType

import uvicorn
from starlette.datastructures import State
from starlette.types import ASGIApp

from service import logs
from service.app import create_app
from service.http.choice import http_protocol
from service.listening import bind, url_of
from service.models import ModelRepository, load_models
from service.process import tune_process
from service.runtime import DRAIN_SECONDS
from service.settings import Settings
from service.streams.header import HEADER_BYTES
from service.streams.socket import StreamProtocol
from shared.signals import STOPS

PING_SECONDS = 20.0


def serve_forever(settings: Settings, models: ModelRepository | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished first.

    Args:
        settings: all of them.
        models: what to serve; loaded as the settings say if None.

    Raises:
        YaopError: the address cannot be listened on, or a model cannot be loaded.
        SystemExit: with 0, after a signal.
    """
    tune_process()
    logs.configure(settings.log_level, settings.log_format)
    for number in STOPS:
        signal.signal(number, _exit_quietly)
    with bind(settings.host, settings.port) as listener:
        app = create_app(settings, models or load_models(settings))
        config = server_config(app, settings)
        Server(config, url_of(listener, settings.host), app.state).run(sockets=[listener])


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        http=http_protocol(settings.header_timeout),
        ws=StreamProtocol,
        ws_max_size=settings.max_stream_frame_bytes + HEADER_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,  # pictures are compressed already
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
    )


class Server(uvicorn.Server):
    """Says where it is once it answers, and tells the application when it is about to stop."""

    def __init__(self, config: uvicorn.Config, url: str, state: State) -> None:
        """Make it; `url` is where it listens, `state` the application's."""
        super().__init__(config)
        self._url = url
        self._state = state

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"YAOP is ready at {self._url} (API: {self._url}/docs). Stop it with Ctrl-C.\n")
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let everything end, streams first."""
        self._state.stopping.set()  # answers without an end, such as events, end: they would hold it up
        await self._state.runtime.streams.drain(DRAIN_SECONDS)  # while their connections are still open
        await super().shutdown(sockets)


def _exit_quietly(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
