"""How many processors this process may use: what a container or a scheduler leaves of the machine's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

_OF_THIS_PROCESS = Path("/proc/self")


def usable_cores(process: Path = _OF_THIS_PROCESS) -> int:
    """The processors that this process may use, at least 1.

    Its affinity counts, and so does the CPU time that its control group and those above it get: a container with 1.5
    CPUs on a host with 64 uses 2. Elsewhere than on Linux all processors of the machine are usable.

    Args:
        process: where the system tells about this process: ``cgroup`` and ``mountinfo`` are read there.
    """
    return min([allowed_cores(), *(max(1, ceil(quota)) for quota in _quotas(process))])


def limited_cores(process: Path = _OF_THIS_PROCESS) -> int:
    """`usable_cores` where control groups allow less than the affinity does, else 0.

    For TensorFlow, which knows about the affinity by itself, but not about control groups.
    """
    usable = usable_cores(process)
    return usable if usable < allowed_cores() else 0


def allowed_cores() -> int:
    """The processors that this process may run on, whatever time it gets on them."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class _Mount:
    """Where a hierarchy of control groups is to be seen: the group `root` and those below it, in the folder `point`."""

    version: int
    root: str
    point: Path

    def folders(self, group: str) -> Iterator[Path]:
        """Of a group and those above it, as far as they are to be seen."""
        root = self.root.rstrip("/")
        # A group outside what is mounted: a container shows its own group only, and what limits it is at the top.
        inside = group.removeprefix(root) if f"{group}/".startswith(f"{root}/") else ""
        folder = self.point / inside.strip("/")
        yield folder
        for above in folder.parents:
            if not above.is_relative_to(self.point):
                return
            yield above


def _quotas(process: Path) -> Iterator[float]:
    """Processors' worth of time that each group gets which this process is in, where it is limited."""
    groups = dict(_groups(process))
    for mount in _mounts(process):
        read = _quota_v2 if mount.version == 2 else _quota_v1
        for folder in mount.folders(groups.get(mount.version, "/")):
            quota = read(folder)
            if quota is not None:
                yield quota


def _groups(process: Path) -> Iterator[tuple[int, str]]:
    """Version of the hierarchy and the process's group in it, from lines such as ``4:cpu,cpuacct:/docker/1a2b``."""
    for line in _lines(process / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, group
        elif "cpu" in controllers.split(","):
            yield 1, group


def _mounts(process: Path) -> Iterator[_Mount]:
    for line in _lines(process / "mountinfo"):
        place, _, kind = line.partition(" - ")
        fields, system = place.split(), kind.split()
        if len(fields) < 5 or len(system) < 3:
            continue
        if system[0] == "cgroup2":
            yield _Mount(2, fields[3], Path(fields[4]))
        elif system[0] == "cgroup" and "cpu" in system[2].split(","):
            yield _Mount(1, fields[3], Path(fields[4]))


def _quota_v2(folder: Path) -> float | None:
    return _share(*(_lines(folder / "cpu.max") or [""])[0].partition(" ")[::2])


def _quota_v1(folder: Path) -> float | None:
    quota, period = (_lines(folder / f"cpu.cfs_{name}_us") or [""] for name in ("quota", "period"))
    return _share(quota[0], period[0])


def _share(quota: str, period: str) -> float | None:
    """Microseconds in so many microseconds; None if there is no limit (``max``, -1, or no such file)."""
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
