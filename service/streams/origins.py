"""Which pages may open streams: those of this service, and those of the origins that its operator names."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

ANY_ORIGIN = "*"

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Origin(NamedTuple):
    """Where a page comes from (RFC 6454); `port` is None where the scheme has no default and none is given."""

    scheme: str
    host: str
    port: int | None


def parse_origin(text: str) -> Origin | None:
    """The origin that a text such as ``https://example.com:8443`` names, or None if it names none (as ``null``)."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.username or parts.path not in ("", "/"):
        return None
    if parts.query or parts.fragment:
        return None
    return Origin(parts.scheme, parts.hostname, _DEFAULT_PORTS.get(parts.scheme) if port is None else port)


def is_welcome(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Whether a page of this origin may open a stream here.

    Args:
        origin: the ``Origin`` header; None from everything but browsers.
        host: the ``Host`` header, which names this service as the client sees it.
        allowed: other origins that may, or `ANY_ORIGIN`.
    """
    if origin is None or ANY_ORIGIN in allowed:
        return True
    page = parse_origin(origin)
    if page is None:
        return False
    # Without a port the host has that of the page's scheme: a proxy in front may end TLS without saying so.
    own = None if host is None else parse_origin(f"{page.scheme}://{host}")
    return page == own or any(page == parse_origin(other) for other in allowed)
