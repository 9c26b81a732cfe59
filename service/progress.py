"""How far a command is: a bar on a terminal, a line of text now and then elsewhere. Both on the standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, TextIO

Unit = Literal["frames", "bytes"]

_STEP = 10
_QUIET_SECONDS = 30.0


class Display(Protocol):
    """Shows progress to a person."""

    def advance(self, stage: str, done: int, total: int, unit: Unit) -> None:
        """Show that `done` of `total` (0: not known) is done; another stage begins a new bar."""
        ...

    def note(self, message: str) -> None:
        """Show one line that stays."""
        ...


def one_line(message: str) -> str:
    """A message without its line breaks."""
    return " ".join(message.split())


class Notes:
    """Lines of text, from any thread.

    Args:
        stream: where they go.
        clock: that of `time.monotonic`.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()

    def note(self, message: str) -> None:
        """Write the line."""
        with self._lock:
            self._stream.write(one_line(message) + "\n")
            self._stream.flush()


class Lines(Notes):
    """Progress as lines: one for each tenth that is done, and one after half a minute with fewer.

    Args:
        stream: where they go.
        clock: that of `time.monotonic`.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._stage = ""
        self._percent = 0
        self._since = 0.0

    def advance(self, stage: str, done: int, total: int, unit: Unit) -> None:
        """Write a line if it is time for one."""
        if stage != self._stage:
            self._stage, self._percent, self._since = stage, 0, self._clock()
        percent = 100 * min(done, total) // total if total else 0
        crossed = percent // _STEP > self._percent // _STEP
        if crossed or (percent > self._percent and self._clock() - self._since >= _QUIET_SECONDS):
            self._percent, self._since = percent, self._clock()
            self.note(f"{stage}: {percent}% ({_amount(done, unit)} of {_amount(total, unit)})")


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Display]:
    """What shows progress in the block: a bar if `stream` (the standard error) is a terminal, else lines."""
    target = stream if stream is not None else sys.stderr
    if not target.isatty():
        yield Lines(target)
        return
    with _bar(target) as display:
        yield display


@contextmanager
def _bar(stream: TextIO) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            unit: Unit = task.fields["unit"]
            speed = f", {_amount(task.speed, unit)}/s" if task.speed and not task.finished else ""
            return Text(f"{_amount(task.completed, unit)} of {_amount(task.total or 0, unit)}{speed}")

    class Bar:
        def __init__(self, progress: Progress) -> None:
            self._progress = progress
            self._stages: dict[str, TaskID] = {}

        def advance(self, stage: str, done: int, total: int, unit: Unit) -> None:
            if stage not in self._stages:
                self._stages[stage] = self._progress.add_task(stage, total=total or None, unit=unit)
            self._progress.update(self._stages[stage], completed=done, total=total or None)

        def note(self, message: str) -> None:
            self._progress.console.print(one_line(message), markup=False, highlight=False)

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), Amount(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), expand=True) as progress:
        yield Bar(progress)


def _amount(count: float, unit: Unit) -> str:
    if unit == "bytes":
        return f"{count / 1e6:.1f} MB"
    return f"{count:.0f}" if count == int(count) else f"{count:.1f}"
