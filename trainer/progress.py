"""How far a training run is: one line that is updated in a terminal, or a plain line now and then in a log."""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Self, TextIO

_WINDOW = 50  # measurements that the speed is the median of
_PAUSE = 1.5  # an interval longer than so many usual ones holds a pause: an evaluation, a checkpoint
_REFRESH = 0.1  # seconds between two updates of the terminal


class ProgressLine:
    """Tells a person how a run is getting on. Use it as a context manager, so that the terminal is left in order.

    Args:
        total: steps of the whole run, all phases together.
        batch: images in a (global) batch.
        log_every: steps between two lines where `stream` is no terminal.
        stream: where to write; None for standard output.
        clock: seconds from any moment, as `time.monotonic`.
        width: columns of the terminal; None asks it.
    """

    def __init__(
        self,
        total: int,
        *,
        batch: int,
        log_every: int = 20,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
    ) -> None:
        self._total, self._batch, self._log_every = total, batch, log_every
        self._stream = stream if stream is not None else sys.stdout
        self._clock = clock
        self._pace = _Pace()
        self._logged = -log_every
        self._refreshed = -_REFRESH
        self._bar = _Bar(self._stream, total, clock, width) if self._stream.isatty() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def images_per_second(self) -> float | None:
        """Speed of the training steps alone, pauses apart; None until two losses of a phase are known."""
        seconds = self._pace.seconds_per_step
        return self._batch / seconds if seconds else None

    def eta(self, step: int) -> float | None:
        """Seconds that are left after `step`, counting pauses such as evaluations as often as they came so far."""
        seconds = self._pace.seconds_per_step
        return (self._total - step) * (seconds + self._pace.pause_per_step) if seconds else None

    def start(self, phase: str, step: int = 0) -> None:
        """A phase begins, or goes on after a break, when `step` steps of the whole run are done."""
        self._pace.restart(step, self._clock())
        self._phase = phase
        self._logged = step - self._log_every
        if self._bar:
            self._bar.show(step, phase)
        elif step:
            self._say(f"{phase}: going on from step {step:,} of {self._total:,}")
        else:
            self._say(f"{phase}: {self._total:,} steps in all")

    def update(self, step: int, losses: Mapping[str, float] | None = None, learning_rate: float | None = None) -> None:
        """`step` steps of the whole run are done.

        Args:
            step: counted from 1 over all phases.
            losses: ``loss`` and its parts ``heatmap`` and ``paf``. Speed is measured between the calls that have them,
                because only then has the accelerator finished: a step without them may merely have been queued.
            learning_rate: of the step.
        """
        if losses is None:
            if self._bar and self._due():
                self._bar.show(step, self._phase)
            return
        self._pace.measure(step, self._clock())
        due = step - self._logged >= self._log_every or step >= self._total
        if self._bar and (self._due() or due):
            self._bar.show(step, self._phase, self._details(step, losses, learning_rate))
        elif not self._bar and due:
            self._say(
                "  ".join((f"step {step:,}/{self._total:,}", *self._details(step, losses, learning_rate).values()))
            )
        if due:
            self._logged = step

    def accuracy(self, step: int, accuracy: Mapping[str, float]) -> None:
        """An evaluation's result, ``ap`` and ``ap50`` and so on (0 to 1), on a line that stays."""
        scores = {name: f"{value:.3f}" if isinstance(value, float) else str(value) for name, value in accuracy.items()}
        numbers = "  ".join(f"{name.upper()} {value}" for name, value in scores.items())
        self.message(f"step {step:,}: {numbers}")

    def message(self, text: str) -> None:
        """A line that stays, above the updating one."""
        if self._bar:
            self._bar.say(text)
        else:
            self._say(text)

    def close(self) -> None:
        """Leave the last state of the line in the terminal."""
        if self._bar:
            self._bar.close()
        self._stream.flush()

    def _due(self) -> bool:
        now = self._clock()
        if now - self._refreshed < _REFRESH:
            return False
        self._refreshed = now
        return True

    def _details(self, step: int, losses: Mapping[str, float], learning_rate: float | None) -> dict[str, str]:
        """What there is to say, by name, in the order of a log's line."""
        details: dict[str, str] = {}
        if "loss" in losses:
            parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items() if name != "loss")
            details["loss"] = f"loss {losses['loss']:.4g}" + (f" ({parts})" if parts else "")
        if learning_rate is not None:
            details["rate"] = f"lr {learning_rate:.2e}"
        speed, left = self.images_per_second, self.eta(step)
        if speed is not None and left is not None:
            details["speed"] = f"{speed:.3g} images/s" if speed < 100 else f"{speed:,.0f} images/s"
            details["left"] = f"ETA {describe_duration(left)}"
        return details

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def describe_duration(seconds: float) -> str:
    """A duration in the two largest units that matter: ``45 s``, ``12 min 5 s``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(whole / 3600)
    return f"{hours // 24} d {hours % 24} h"


class _Pace:
    """Seconds a step takes: the median of the latest ones, so that neither compilation nor an evaluation counts."""

    def __init__(self) -> None:
        self._paused, self._steps = 0.0, 0
        self.restart(0, 0.0)

    def restart(self, step: int, now: float) -> None:
        """Another phase: its first interval, which compiles the step, is not counted."""
        self._step, self._time, self._compiling = step, now, True
        self._durations: deque[float] = deque(maxlen=_WINDOW)

    def measure(self, step: int, now: float) -> None:
        steps, seconds = step - self._step, now - self._time
        if steps <= 0:
            return
        self._step, self._time = step, now
        if self._compiling:
            self._compiling = False
            return
        self._durations.append(seconds / steps)
        self._steps += steps
        usual = steps * statistics.median(self._durations)
        self._paused += seconds - usual if seconds > _PAUSE * usual else 0.0

    @property
    def seconds_per_step(self) -> float | None:
        return (statistics.median(self._durations) or None) if self._durations else None

    @property
    def pause_per_step(self) -> float:
        return self._paused / self._steps if self._steps else 0.0


class _Bar:
    """The updating line, drawn by rich."""

    def __init__(self, stream: TextIO, total: int, clock: Callable[[], float], width: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column

        details = TextColumn("{task.fields[details]}", markup=False, table_column=Column(no_wrap=True, ratio=1))
        self._progress: Any = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            details,
            console=Console(file=stream, force_terminal=True, width=width, highlight=False),
            auto_refresh=False,
            get_time=clock,
            expand=True,
        )
        self._task = self._progress.add_task("", total=total, details="")
        self._details = ""
        self._progress.start()

    def show(self, step: int, phase: str, details: Mapping[str, str] | None = None) -> None:
        if details is not None:
            # What matters most first: a narrow terminal cuts the end off.
            order = ("left", "loss", "speed", "rate")
            self._details = "  ".join(details[name] for name in order if name in details)
        self._progress.update(self._task, completed=step, description=phase, details=self._details)
        self._progress.refresh()

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False)
        self._progress.refresh()

    def close(self) -> None:
        self._progress.refresh()
        self._progress.stop()
