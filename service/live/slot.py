"""Where a source leaves its newest item for whoever is next to look: one that was not taken in time is replaced."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Slot(Generic[Item]):
    """Room for one item, between a thread that puts and one that takes."""

    def __init__(self) -> None:
        self._item: Item | None = None
        self._finished = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def finished(self) -> bool:
        """Whether nothing more will come; the last item may still be there."""
        with self._changed:
            return self._finished

    @property
    def ended(self) -> bool:
        """Whether everything was taken, and nothing more will come."""
        with self._changed:
            return self._finished and self._item is None

    def put(self, item: Item) -> None:
        """Leave an item, in place of the one that is there."""
        with self._changed:
            self._item = item
            self._changed.notify_all()

    def take(self, timeout: float) -> Item | None:
        """The item that is there, or will be within `timeout` seconds; None if there is none, or never will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._finished, timeout)
            item, self._item = self._item, None
            return item

    def finish(self, failure: BaseException | None = None) -> None:
        """Nothing more will come; `failure` tells why, if that is not the end that was to be expected.

        Only the first call counts.
        """
        with self._changed:
            if not self._finished:
                self._finished, self._failure = True, failure
                self._changed.notify_all()

    def raise_failure(self) -> None:
        """Do nothing, unless the items ended by a failure: raise that."""
        with self._changed:
            failure = self._failure
        if failure is not None:
            raise failure
