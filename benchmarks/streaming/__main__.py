"""Live streams through a real server: latency against the bare engine, memory, fairness, clients that don't read.

python -m benchmarks.streaming [--seconds 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.streaming.measure import service
from benchmarks.streaming.report import Streaming
from shared.bundle import load_bundle, shipped_models_dir

_DEAF_SECONDS = 40.0  # longer than the service waits for who doesn't read


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the one stream; 600: ten minutes")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    seconds = max(8.0, arguments.seconds)
    with service(load_bundle(shipped_models_dir() / "mobilenet_fpn")) as running:
        served = [running.served(max(8.0, seconds / 4), 1), running.served(seconds, 2)]
        filmed = [running.filmed(min(120.0, seconds / 2), most) for most in (2, 16)]
        shares = running.shares(min(30.0, seconds / 2))
        deaf = running.deaf(_DEAF_SECONDS)
    report = Streaming(served, filmed, shares, deaf)
    sys.stdout.write("\n".join(report.markdown()) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(report.numbers(), indent=2) + "\n")


if __name__ == "__main__":
    main()
