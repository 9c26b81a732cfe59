"""How much a video may ask of the machine, and how a process is held to it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MEBIBYTE = 1 << 20
_GRACE_SECONDS = 5

try:
    resource: Any = importlib.import_module("resource")
except ImportError:  # Windows
    resource = None

KEPT_BY_SYSTEM = resource is not None and sys.platform.startswith("linux")
"""Whether the system holds a process to its memory. Where not, macOS included, `service.media.watch` does."""


@dataclass(frozen=True)
class VideoLimits:
    """What a video may be, and what reading it may cost.

    Attributes:
        max_pixels: most pixels of a picture; the default is 4096 x 2176.
        max_seconds: longest duration.
        max_frames: most frames.
        memory_bytes: address space of the process that decodes.
        probe_seconds: wall clock in which a file must show what it is.
        stall_seconds: longest wait for the next frame; half of it as CPU time would already be far too slow.
        frame_cpu_seconds: most CPU time a frame may take on average, before the process is stopped by the system.
    """

    max_pixels: int = 4096 * 2176
    max_seconds: float = 2 * 3600.0
    max_frames: int = 500_000
    memory_bytes: int = 2048 * MEBIBYTE
    probe_seconds: float = 60.0
    stall_seconds: float = 30.0
    frame_cpu_seconds: float = 2.0


DEFAULT_LIMITS = VideoLimits()


def limit_process(
    *, memory_bytes: int, cpu_seconds: float, write_bytes: int = 0, open_files: int = 64, niceness: int = 5
) -> None:
    """Hold this process to limits for good, as far as the system has any; for a child that is about to touch an upload.

    Args:
        memory_bytes: address space, shared libraries included; more makes an allocation fail.
        cpu_seconds: CPU time of all threads; more ends the process by SIGXCPU.
        write_bytes: largest file it may write; pipes are free. Longer writes fail, or end the process by SIGXFSZ.
        open_files: file descriptors, those already open included. A socket needs one, so a process that has used
            them all can reach neither files nor the network.
        niceness: added to the present one: serving comes first.
    """
    _limit("RLIMIT_AS", memory_bytes)
    seconds = max(1, round(cpu_seconds))
    _limit("RLIMIT_CPU", seconds, seconds + _GRACE_SECONDS)  # at the hard limit it is SIGKILL
    _limit("RLIMIT_FSIZE", write_bytes)
    _limit("RLIMIT_CORE", 0)
    limit_open_files(open_files)
    nice: Callable[[int], int] | None = getattr(os, "nice", None)
    if nice is not None:
        nice(niceness)


def limit_open_files(count: int) -> None:
    """Allow this process no more than `count` file descriptors; those open above it stay open."""
    _limit("RLIMIT_NOFILE", count)


def _limit(name: str, soft: int, hard: int | None = None) -> None:
    if resource is None:
        return
    with suppress(*(() if KEPT_BY_SYSTEM else (OSError, ValueError))):
        _set_limit(getattr(resource, name), soft, hard)


def _set_limit(kind: int, soft: int, hard: int | None) -> None:
    most = resource.getrlimit(kind)[1]
    hard = soft if hard is None else hard
    hard = hard if most == resource.RLIM_INFINITY else min(hard, most)
    resource.setrlimit(kind, (min(soft, hard), hard))
