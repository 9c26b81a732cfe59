"""The command of the images' HEALTHCHECK, against servers that are up, down, unwell and slow."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.healthcheck import SECONDS, why_not

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def server(status: int, seconds: float = 0) -> Iterator[str]:
    """Answers `/health/live` with this status after this time, and all else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(seconds)
            self.send_response(status if self.path == "/health/live" else 404)
            self.end_headers()

        def log_message(self, *_: Any, **__: Any) -> None:
            """Nothing: the test says what went wrong."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.healthcheck", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=False)


def test_service_that_is_alive_is_healthy() -> None:
    with server(200) as url:
        done = run(f"{url}/health/live")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_port_of_the_settings_is_asked_by_default() -> None:
    with server(200) as url:
        assert run(YAOP_PORT=url.rpartition(":")[2]).returncode == 0


def test_service_that_is_unwell_is_not_healthy() -> None:
    with server(503) as url:
        done = run(f"{url}/health/live")
    assert done.returncode == 1
    assert done.stderr == f"{url}/health/live: answered 503\n"


def test_nobody_there_is_told_in_one_line() -> None:
    with server(200) as url:
        pass
    done = run(f"{url}/health/live")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_service_that_takes_too_long_is_not_healthy() -> None:
    with server(200, seconds=0.6) as url:
        begin = time.monotonic()
        assert why_not(f"{url}/health/live", seconds=0.2)
        assert time.monotonic() - begin < 0.5


@pytest.mark.parametrize("name", ["Dockerfile.serve"])
def test_reason_is_told_before_the_engine_gives_up(name: str) -> None:
    (allowed,) = (part for part in (ROOT / name).read_text().split() if part.startswith("--timeout="))
    assert float(allowed.removeprefix("--timeout=").removesuffix("s")) > SECONDS


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://", "nonsense", "http://127.0.0.1:99999/"])
def test_what_is_no_url_is_not_healthy(url: str) -> None:
    done = run(url)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
