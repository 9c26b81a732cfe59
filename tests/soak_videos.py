"""Kill a server that works on videos many times: ``python -m tests.soak_videos --kills 20`` (part of `make soak`)."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.video_jobs import survive_kills


def main() -> None:
    """Kill, and see that no job is lost and no frame missing or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        hits = survive_kills(Path(folder), arguments.kills, arguments.seed, frames=300)
    seconds = time.monotonic() - begin
    text = f"{arguments.kills} kills, {hits} of them while jobs ran: every job ended as if there had been none"
    sys.stdout.write(f"{text} ({seconds:.0f} s)\n")


if __name__ == "__main__":
    main()
