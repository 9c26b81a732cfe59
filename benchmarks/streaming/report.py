"""The numbers of live streams as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.streaming.measure import CAMERA_FPS, Deaf, Filmed, Served, Shares
from benchmarks.timing import Timing


@dataclass(frozen=True)
class Streaming:
    """All of them."""

    served: list[Served]
    filmed: list[Filmed]
    shares: Shares
    deaf: Deaf | None = None

    def numbers(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self) | {"ratios": [one.ratio for one in self.served], "share": self.shares.share}

    def markdown(self) -> list[str]:
        """The lines of a report."""
        lines = ["One stream of 640x480 at `fast`; median and p95 in ms, the engine in turns with the stream:", ""]
        lines += ["| credits | engine alone | arrival to result | not waiting | seen by the client | ratio | fps |"]
        lines += ["|---|---|---|---|---|---|---|", *map(_served, self.served), ""]
        lines += ["The ratio is that of the p95 from arrival to result and the engine's median."]
        for one in self.served:
            phases = ", ".join(f"{phase} {value:.1f}" for phase, value in one.phases.items())
            lines += [f"With {one.credits} for {one.seconds:g} s: medians in ms: {phases};"]
            lines += [f"{one.slowest:.1f} fps in the slowest stretch; {_memory(one)}."]
        lines += [
            "",
            f"A camera of {CAMERA_FPS} fps; age of a picture when its result comes, median and p95 in ms:",
            "",
        ]
        lines += ["| credits | first quarter | last quarter | fps | dropped by client | by service |"]
        lines += ["|---|---|---|---|---|---|", *map(_filmed, self.filmed)]
        lines += ["", f"{self.shares.clients} clients at once: {_shares(self.shares)}."]
        return lines + (_deaf(self.deaf) if self.deaf else [])


def _times(timing: Timing) -> str:
    return f"{timing.median:.1f}, {timing.p95:.1f}"


def _served(one: Served) -> str:
    times = " | ".join(_times(timing) for timing in (one.engine, one.total, one.working, one.seen))
    return f"| {one.credits} | {times} | {one.ratio:.2f} | {one.fps:.1f} |"


def _memory(one: Served) -> str:
    memory = one.memory
    return f"memory {memory.first:.0f} MB first, {memory.last:.0f} last, {memory.peak:.0f} at the peak"


def _filmed(filmed: Filmed) -> str:
    ages = f"{_times(filmed.first_quarter)} | {_times(filmed.last_quarter)}"
    dropped = f"{filmed.dropped_by_client} of {filmed.offered} | {filmed.skipped_by_service}"
    return f"| {filmed.credits} | {ages} | {filmed.fps:.1f} | {dropped} |"


def _shares(shares: Shares) -> str:
    return f"{shares.mean:.2f} fps each, the slowest {shares.least:.2f} ({shares.share:.0%} of the mean)"


def _deaf(deaf: Deaf) -> list[str]:
    closed = "never closed" if deaf.closed_after is None else f"closed after {deaf.closed_after:.1f} s"
    return [
        "",
        f"With one more that never reads: {_shares(deaf.beside)};",
        f"without it, before and after: {deaf.before.mean:.2f} and {deaf.after.mean:.2f} fps each.",
        f"It cost the service {deaf.memory:.1f} MB, and was {closed}.",
    ]
