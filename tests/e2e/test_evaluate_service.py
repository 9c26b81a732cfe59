"""`yaop train evaluate --url` against a server in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import labelled_discs
from tests.server_process import FAKE, run_yaop, running


def evaluate(folder: Path, url: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    data = ("--annotations", folder / "discs.json", "--images", folder)
    return run_yaop("train", "evaluate", "--url", url, "--resolution", "384", *data, *more)


def errors(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [line for line in done.stderr.decode().splitlines() if line.startswith(("error", "Traceback"))]


@pytest.mark.slow
def test_a_running_service_is_measured_until_it_is_gone(tmp_path: Path) -> None:
    labelled_discs.write(tmp_path)
    with running(*FAKE) as server:
        done = evaluate(tmp_path, server.url, "--json", str(tmp_path / "n.json"))
        assert (done.returncode, errors(done)) == (0, [])
        assert done.stdout.decode().splitlines()[1].split()[:2] == ["384", "1.000"]
        assert (tmp_path / "n.json").is_file()
    gone = evaluate(tmp_path, server.url)
    assert gone.returncode == 2
    (error,) = errors(gone)
    assert error.startswith(f"error: {server.url}/pose: three.jpg: ")
