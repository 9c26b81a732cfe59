"""Sockets that the service and its workers listen on."""

from __future__ import annotations

import socket

from service.settings import PREFIX, SettingsError

# After a restart the same port can be had at once. On Windows SO_REUSEADDR would let two servers share a port.
_OURS_ALONE: int = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


def bind(host: str, port: int, setting: str = "PORT") -> socket.socket:
    """A socket bound to this address; it does not listen yet, so nobody connects before there is something to answer.

    Args:
        host: name or address.
        port: 0 picks a free one.
        setting: that says the port.

    Raises:
        SettingsError: the host is unknown or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{PREFIX}HOST={host}: {getattr(error, 'strerror', None) or error}") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, _OURS_ALONE, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise SettingsError(f"{PREFIX}{setting}={port}: cannot listen on {host}:{port}: {reason}") from None
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """Where a browser on this machine finds what listens there."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
