"""Kill a training run again and again: `python -m tests.soak_training --kills 20`.

Some 15 seconds a kill on two cores. Ends with an error if anything but the steps since the last checkpoint was lost.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.training_process import Job, survive


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Kill a training run at random moments; it must end as if it had not.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder))
        job.prepare()
        for line in survive(job, arguments.kills, arguments.seed):
            print(line, flush=True)  # noqa: T201 - a command's output
    print(f"ended like an unbroken run after {arguments.kills} kills")  # noqa: T201


if __name__ == "__main__":
    main()
