"""The HTTP protocol for uvicorn: over the parser that it would choose itself."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.util import find_spec
from typing import cast


def http_protocol(header_seconds: float) -> type[asyncio.Protocol]:
    """What ``uvicorn.Config(http=...)`` takes.

    Args:
        header_seconds: how long a client may take to send the headers of a request.
    """
    if find_spec("httptools") is not None:
        from service.http.over_httptools import PunctualHttpToolsProtocol as Protocol
    else:  # where there is no build of it, as on PyPy
        from service.http.over_h11 import PunctualH11Protocol as Protocol
    return cast("type[asyncio.Protocol]", partial(Protocol, header_seconds=header_seconds))
