"""The machine in words, for a run's report."""

from __future__ import annotations

import platform
from pathlib import Path

from shared.cores import usable_cores
from trainer.machine import memory_bytes


def describe_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Processor, how many of its threads this process may use, memory and system. Accelerators are not looked for."""
    names = [line.split(":", 1)[1].strip() for line in _lines(cpuinfo) if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    threads = usable_cores()
    memory = memory_bytes()
    parts = [processor, f"{threads} thread{'s' if threads != 1 else ''}"]
    parts += [f"{memory / 2**30:.0f} GiB of memory"] if memory else []
    return ", ".join([*parts, f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
