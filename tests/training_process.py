"""`yaop train fit` in processes of its own, which can be killed at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.records_fixture import numbered_records, write_folder

STEPS = (60, 60)
_RECIPE = f"""
import dataclasses
from tests import tiny_training
from trainer.recipe import DataSource, Phase

RECIPE = tiny_training.recipe(
    sources=(DataSource("numbered", "none.json", "none"),),
    phases=(
        Phase(steps={STEPS[0]}, learning_rate=5e-3, warmup=10, frozen=("stem",)),
        Phase(steps={STEPS[1]}, learning_rate=2e-3, warmup=5, rates=(("stem", 0.1),)),
    ),
    checkpoint_every=7,
    log_every=3,
    pipeline=dataclasses.replace(tiny_training.RECIPE.pipeline, threads=1, shuffle=16),
)
"""


@dataclass
class Job:
    """A recipe file, records and a folder for runs."""

    folder: Path

    def prepare(self) -> None:
        """Write recipe and records."""
        write_folder(self.folder / "records" / "numbered", numbered_records(self.folder / "pictures", 24))
        (self.folder / "tiny.py").write_text(_RECIPE)

    def command(self, run: str) -> list[str]:
        """The one command that starts a run and goes on with it."""
        places = {"records": "records", "data": "data", "runs": "runs", "recipe": "tiny.py"}
        options = [part for name, place in places.items() for part in (f"--{name}", str(self.folder / place))]
        return [sys.executable, "-m", "shared.cli", "train", "fit", *options, "--run", run, "--no-tensorboard"]

    def start(self, run: str) -> subprocess.Popen[str]:
        """Start or go on."""
        return subprocess.Popen(
            self.command(run),
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, run: str) -> str:
        """Run to the end; returns what was printed."""
        process = self.start(run)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output[-3000:]
        return output

    def kill_after(self, run: str, step: int, delay: float) -> str:
        """Start or go on, and kill -9 `delay` seconds after the history has an event of this step or a later one.

        Returns:
            what was printed.
        """
        process = self.start(run)
        try:
            deadline = time.monotonic() + 600
            while self.last_step(run) < step and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(delay)
        finally:
            process.send_signal(signal.SIGKILL)
        return process.communicate()[0]

    def history(self, run: str) -> list[dict[str, Any]]:
        """All whole lines of the history, without speeds."""
        path = self.folder / "runs" / run / "history.jsonl"
        events: list[dict[str, Any]] = []
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                events.append(json.loads(line))
            except ValueError:
                break
        return [{name: value for name, value in event.items() if name != "images_per_second"} for event in events]

    def last_step(self, run: str) -> int:
        """Step of the latest event; 0 before the first."""
        events = self.history(run)
        return events[-1]["step"] if events else 0

    def checkpoints(self, run: str) -> list[int]:
        """Steps of the checkpoints that are there."""
        folder = self.folder / "runs" / run / "checkpoints"
        return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.ckpt"))


def survive(job: Job, kills: int, seed: int) -> list[str]:
    """Kill a run at random moments, let it end, and compare it with one that was left alone.

    Returns:
        a line about each kill.

    Raises:
        AssertionError: something but the steps since the last checkpoint was lost.
    """
    chance, said = random.Random(seed), list[str]()
    job.finish("unbroken")
    for number in range(kills):
        before = job.checkpoints("killed")
        # Spread over the run, so that a late kill does not leave nothing to kill; early ones may hit the start.
        step = round(sum(STEPS) * (number + chance.random()) / (kills + 1))
        output = job.kill_after("killed", step, chance.uniform(0, 0.1))
        _check_going_on(output, before)
        said.append(f"killed after step {job.last_step('killed')}, checkpoints {job.checkpoints('killed')}")
    before = job.checkpoints("killed")
    output = job.finish("killed")
    assert "going on from step" in output, output
    _check_going_on(output, before)
    _compare(job.history("killed"), job.history("unbroken"))
    return said


def _check_going_on(output: str, before: list[int]) -> None:
    if before and "going on from step" in output:
        assert f"going on from step {before[-1]:,}" in output, output


def _compare(killed: list[dict[str, Any]], unbroken: list[dict[str, Any]]) -> None:
    assert [event["step"] for event in killed] == [event["step"] for event in unbroken]
    for mine, theirs in zip(killed, unbroken, strict=True):
        assert abs(mine["loss"] - theirs["loss"]) <= 1e-4 * theirs["loss"], (mine, theirs)
