"""The fake server, which tells what it holds when asked: ``python -m tests.watched_server [SECONDS_PER_CALL]``.

On SIGUSR1 it prints a line of JSON: its asyncio tasks by the name of what they run, and its threads.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil

from service.launch import serve_forever
from service.settings import load_settings
from tests.fake_engine import fake_models
from tests.fake_server import SlowEngine
from tests.server_process import Server

WATCHED = ("-m", "tests.watched_server")


@dataclass(frozen=True)
class Holdings:
    """What a server holds at one moment.

    Attributes:
        tasks: how many asyncio tasks run each coroutine.
        files: open file descriptors, sockets among them.
        memory: resident, in MB.
    """

    tasks: dict[str, int]
    threads: int
    files: int
    memory: float

    @classmethod
    def of(cls, server: Server) -> Holdings:
        """Ask a watched server."""
        assert server.process.stdout
        server.process.send_signal(signal.SIGUSR1)
        told = json.loads(server.process.stdout.readline())
        process = psutil.Process(server.process.pid)
        return cls(told["tasks"], told["threads"], process.num_fds(), process.memory_info().rss / 1e6)


def _tell(_number: int, _frame: Any) -> None:
    """Runs between two callbacks of the event loop, in its thread."""
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    sys.stdout.write(json.dumps({"tasks": tasks, "threads": threading.active_count()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    serve_forever(load_settings(), fake_models(SlowEngine(float(sys.argv[1]) if len(sys.argv) > 1 else 0)))
