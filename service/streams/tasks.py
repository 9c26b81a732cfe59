"""Coroutines that live and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from service.streams.ending import ClientGone, StreamEnd


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one of them ends, and cancel the others; when this returns or raises, none runs any more.

    Raises:
        Exception: what those that ended raised: something unexpected first, else that of the earliest argument.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, (StreamEnd, ClientGone))):
        raise error
