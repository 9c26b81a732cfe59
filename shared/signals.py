"""Signals by name, as far as the system has them."""

from __future__ import annotations

import signal


def signals_named(*names: str) -> frozenset[signal.Signals]:
    """Those of these that this system has, e.g. of ``SIGHUP`` and ``SIGTERM`` only the latter on Windows."""
    return frozenset(signal.Signals[name] for name in names if name in signal.Signals.__members__)


STOPS = signals_named("SIGTERM", "SIGINT", "SIGBREAK")
"""What asks a process to end: a service manager, Ctrl-C, and Ctrl-Break or a closed console on Windows."""
