"""A video annotated without a server, where something goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs.options import VideoOptions
from service.video.local import annotate_file
from shared.errors import YaopError
from tests import clips
from tests.fake_engine import DiscEngine, fake_model
from tests.server_process import ROOT


def test_an_engine_that_fails_is_told_with_its_reason_and_leaves_nothing(tmp_path: Path) -> None:
    source = clips.discs_clip(tmp_path / "discs.mp4", frames=12)
    model = fake_model(DiscEngine())
    assert isinstance(model.engine, DiscEngine)
    model.engine.failure = ValueError("out of luck")
    with pytest.raises(YaopError, match="the engine failed: out of luck"):
        annotate_file(
            source, tmp_path / "out.mp4", None, VideoOptions(), model.bundle, model.engine, lambda done, total: None
        )
    assert list(tmp_path.iterdir()) == [source]


def test_a_failed_call_prints_nothing_by_itself(tmp_path: Path) -> None:
    """In a process of its own, for pytest hears every log."""
    clips.discs_clip(tmp_path / "discs.mp4", frames=12)
    done = subprocess.run(
        [sys.executable, "-c", _FAILING],
        cwd=ROOT,
        env=os.environ | {"CLIP": str(tmp_path)},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the engine failed: out of luck\n", "")


_FAILING = """
import os, pathlib
from service.jobs.options import VideoOptions
from service.video.local import annotate_file
from shared.errors import YaopError
from tests.fake_engine import DiscEngine, fake_model

engine = DiscEngine()
engine.failure = ValueError("out of luck")
try:
    clip = pathlib.Path(os.environ["CLIP"]) / "discs.mp4"
    annotate_file(clip, None, print, VideoOptions(), fake_model(engine).bundle, engine, lambda done, total: None)
except YaopError as error:
    print(error)
"""
