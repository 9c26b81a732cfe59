"""Run the application in this process: listen, load, say where it is, and stop cleanly."""

from __future__ import annotations

import math
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn

from service import logs
from service.app import create_app
from service.models import ModelRepository, load_models
from service.process import tune_process
from service.settings import PREFIX, Settings, SettingsError


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
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_quietly)
    with bind(settings.host, settings.port) as listener:
        app = create_app(settings, models or load_models(settings))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        )
        _Server(config, url_of(listener, settings.host), app.state.stopping).run(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to this address; it does not listen yet, so nobody connects before the models are there.

    Raises:
        SettingsError: the host is unknown or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{PREFIX}HOST={host}: {getattr(error, 'strerror', None) or error}") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise SettingsError(f"{PREFIX}PORT={port}: cannot listen on {host}:{port}: {reason}") from None
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """Where a browser on this machine finds the service."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


class _Server(uvicorn.Server):
    """Says where it is once it answers, and tells the application when it is about to stop."""

    def __init__(self, config: uvicorn.Config, url: str, stopping: threading.Event) -> None:
        super().__init__(config)
        self._url = url
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"YAOP is ready at {self._url} (API: {self._url}/docs). Stop it with Ctrl-C.\n")
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()  # answers without an end, such as events, end: they would hold it up
        await super().shutdown(sockets)


def _exit_quietly(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
