"""`make bench`: everything side by side in one run; a Markdown report on standard output.

python -m benchmarks [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.decoding import DecodingCost, decoding_cost
from benchmarks.engines import compare_engines, compare_peers
from benchmarks.serving import ServingCost, serving_cost
from benchmarks.streaming.measure import service
from benchmarks.streaming.report import Streaming
from benchmarks.timing import Timing
from shared.bundle import Bundle, load_bundle, shipped_models_dir


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    bundle = load_bundle(shipped_models_dir() / "mobilenet_fpn")
    serving = serving_cost(bundle)
    decoding = [decoding_cost(bundle, people) for people in (1, 10)]
    engines = compare_engines(bundle)
    peers = compare_peers(bundle)
    streaming = _short_streaming(bundle)
    sys.stdout.write(_report(engines, peers, decoding, serving, streaming) + "\n")
    if arguments.json:
        results = {
            "machine": _machine(),
            "engines": {name: asdict(timing) for name, timing in engines.items()},
            "peers": {name: asdict(timing) for name, timing in peers.items()},
            "decoding": [asdict(cost) | {"share": cost.share} for cost in decoding],
            "streaming": streaming.numbers(),
            "serving": asdict(serving) | {"overhead": serving.overhead},
        }
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def _short_streaming(bundle: Bundle) -> Streaming:
    """Some 20 seconds of what `python -m benchmarks.streaming` does in minutes."""
    with service(bundle) as running:
        return Streaming([running.served(8, 1)], [running.filmed(4, 2)], running.shares(4))


def _machine() -> str:
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "ai-edge-litert", "numpy"))
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores; {packages}"


def _report(
    engines: Mapping[str, Timing],
    peers: Mapping[str, Timing],
    decoding: list[DecodingCost],
    serving: ServingCost,
    streaming: Streaming,
) -> str:
    litert, tensorflow = engines.values()
    lines = [f"Machine: {_machine()}", "", "Network and decoder, one 288x384 input:", ""]
    lines += _table(engines)
    lines += ["", f"litert is {tensorflow.median / litert.median:.1f} times as fast as tensorflow.", ""]
    lines += [
        "In TensorFlow, one 288x384 input, peers with random weights and without decoding:",
        "",
        *_table(peers),
        "",
    ]
    lines += ["| people | found | network ms | decoding in the graph ms | assembly ms | share of the network |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {c.people} | {c.found} | {c.network:.1f} | {c.graph:.2f} | {c.python:.2f} | {c.share:.0%} |"
        for c in decoding
    ]
    request, call = serving.request, serving.engine
    lines += ["", f"POST /pose, 640x480 JPEG at 384: {request.median:.1f} ms (p95 {request.p95:.1f})."]
    lines += [f"The engine call in it: {call.median:.1f} ms, so the overhead is {serving.overhead:.0%} of that call;"]
    lines += [f"an empty request, HTTP and client alone, takes {serving.empty_request.median:.1f} ms of it."]
    lines += [f"Server ready after {serving.start_seconds:.1f} s; {serving.memory_mb:.0f} MB with three shapes in use."]
    return "\n".join([*lines, "", *streaming.markdown()])


def _table(timings: Mapping[str, Timing]) -> list[str]:
    rows = [f"| {name} | {t.median:.1f} | {t.p95:.1f} |" for name, t in timings.items()]
    return ["| | median ms | p95 ms |", "|---|---|---|", *rows]


if __name__ == "__main__":
    main()
