"""Training survives kill -9. The long form is `python -m tests.soak_training --kills 20`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training_process import STEPS, Job, survive


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_three_times_ends_with_the_losses_of_one_that_was_not(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.prepare()
    assert len(survive(job, kills=3, seed=20261124)) == 3
    run = tmp_path / "runs" / "killed"
    assert (run / "final.weights.h5").exists()
    assert job.checkpoints("killed")[-1] == sum(STEPS)
    assert not list((run / "checkpoints").glob(".*")), "half-written files are left behind"
