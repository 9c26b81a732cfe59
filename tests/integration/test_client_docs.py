"""docs/python-client.md: what it shows works, and it shows all there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import Client
from service.client.stream import PoseStream
from tests import clips, photos
from tests.fake_engine import discs, person_at
from tests.server_process import FAKE, ROOT, running

PAGE = (ROOT / "docs" / "python-client.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
KEY = "the value of YAOP_ADMIN_KEY"


def camera() -> Iterator[bytes]:
    for x in range(90, 95):
        yield photos.encode(discs(256, 192, person_at(x, 100)), "jpeg")


def test_every_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("picture.jpg").write_bytes(next(camera()))
    Path("notes.txt").write_text("no picture")
    clips.discs_clip(Path("dance.mp4"), frames=10)
    names: dict[str, Any] = {"camera": camera}
    with running(*FAKE, admin_key=KEY) as server:
        for number, block in enumerate(BLOCKS):
            code = block.replace("http://127.0.0.1:8000", server.url)
            exec(compile(code, f"block {number} of the page", "exec"), names)
        names["client"].close()
    assert {path.name for path in tmp_path.iterdir()} >= {"drawn.png", "poses.csv", "poster.jpg", "annotated.mp4"}
    assert "415 Unsupported image" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [Client, PoseStream])
def test_every_call_is_on_the_page(kind: type) -> None:
    public = {name for base in kind.__mro__[:-1] for name in vars(base) if base.__module__.startswith("service.client")}
    assert [name for name in sorted(public) if not name.startswith("_") and name not in PAGE] == []
