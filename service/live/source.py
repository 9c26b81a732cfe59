"""Where live pictures come from, and the thread that takes them as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from service.live.picture import Picture
from service.live.slot import Slot

_END_SECONDS = 3.0


class Source(Protocol):
    """Gives pictures at its own speed."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of its pictures; None if that is not known yet."""
        ...

    def pictures(self) -> Iterator[Picture]:
        """The pictures, each as soon as it is there; to its end, or to `stop`.

        Raises:
            YaopError: the source failed.
        """
        ...

    def stop(self) -> None:
        """End `pictures` soon; from any thread, and any number of times."""
        ...


class Capture(AbstractContextManager["Capture"]):
    """A thread that takes a source's pictures and leaves the newest one in `slot`; it runs from `start` to the end.

    Args:
        source: of the pictures.
        ended: called once there are no more.

    Attributes:
        slot: holds the newest picture.
    """

    def __init__(self, source: Source, ended: Callable[[], None] = lambda: None) -> None:
        self.slot: Slot[Picture] = Slot()
        self._source = source
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="yaop-capture", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No more pictures; those that were not looked at are still there."""
        self._source.stop()
        if self._thread.ident is not None:
            self._thread.join(_END_SECONDS)  # a camera that hangs must not keep the command from ending
        self.slot.finish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            for picture in self._source.pictures():
                self.slot.put(picture)
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            self.slot.finish(error)
        else:
            self.slot.finish()
        self._ended()
