"""How far a long transfer is: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import typer

Advance = Callable[[int], None]

_LINES_PER_TASK = 10


class Meter(Protocol):
    """Shows tasks that are measured in bytes. May be called from several threads."""

    def start(self, label: str, total: int, done: int = 0) -> Advance:
        """Show a task of `total` bytes, `done` of which are there; the result is told of each further amount."""
        ...

    def note(self, text: str) -> None:
        """Show a line of text."""
        ...


class PlainMeter:
    """A line when a task starts and at each tenth of it, for logs and pipes.

    Args:
        say: takes a line of text; printed by default.
    """

    def __init__(self, say: Callable[[str], None] = typer.echo) -> None:
        self._say = say

    def start(self, label: str, total: int, done: int = 0) -> Advance:
        """As `Meter.start`."""
        at = done
        tenth = done * _LINES_PER_TASK // max(total, 1)
        self._say(f"{label}: {readable(total)}" + (f", {readable(done)} are there" if done else ""))

        def advance(amount: int) -> None:
            nonlocal at, tenth
            at += amount
            now = at * _LINES_PER_TASK // max(total, 1)
            if now > tenth:
                tenth = now
                self._say(f"{label}: {at * 100 // max(total, 1)} % of {readable(total)}")

        return advance

    def note(self, text: str) -> None:
        """As `Meter.note`."""
        self._say(text)


@contextmanager
def terminal_meter() -> Iterator[Meter]:
    """Bars while the block runs if stderr is a terminal, plain lines if not."""
    if not sys.stderr.isatty():
        yield PlainMeter()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


def readable(amount: int) -> str:
    """Bytes for people, as in "19.3 GB" (decimal units)."""
    value, unit = float(amount), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "bytes" else f"{amount} bytes"


class _Bars:
    def __init__(self, bars: object) -> None:
        from rich.progress import Progress

        assert isinstance(bars, Progress)
        self._bars = bars

    def start(self, label: str, total: int, done: int = 0) -> Advance:
        task = self._bars.add_task(label, total=total, completed=done)
        return lambda amount: self._bars.advance(task, amount)

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)
