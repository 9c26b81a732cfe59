"""What a run writes down while it trains: a line of JSON for each event (`trainer.history` reads them)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer import storage

Event = dict[str, Any]
"""``step, phase, loss, heatmap, paf, learning_rate, images_per_second`` of training or ``step, ap, ap50 ...``."""


class EventLog:
    """The events of a run, in memory and in its file ``history.jsonl``.

    Args:
        address: of the file; None keeps the events in memory only.
        kept: events that a run which goes on has already; later ones in the file are cut off.

    Raises:
        StorageError: the file cannot be read or written; so does `add`.
    """

    def __init__(self, address: str | None, kept: int = 0) -> None:
        self.address = address
        self.events: list[Event] = []
        if address and storage.exists(address):
            self.events = _read(address)[:kept]
            self._rewrite(address)

    def add(self, event: Event) -> None:
        """Append an event."""
        self.events.append(event)
        if self.address is None:
            return
        if storage.is_remote(self.address):
            self._rewrite(self.address)  # a bucket's objects cannot grow
            return
        try:
            with Path(self.address).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            raise storage.StorageError(f"{self.address}: {error.strerror or error}") from error

    def _rewrite(self, address: str) -> None:
        storage.write_bytes(address, "".join(json.dumps(event) + "\n" for event in self.events).encode())


def _read(address: str) -> list[Event]:
    events: list[Event] = []
    for line in storage.read_bytes(address).decode("utf-8", "replace").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:  # a process that is killed may leave half a line
            break
    return events
