"""What a stream has under way, and what came back and was not taken yet: shared by the threads that use it."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.client.errors import ClientError, PictureError, StreamClosed, StreamTimeout
from service.streams.messages import Acknowledgement, StreamError, StreamOptions, StreamResult

MOST_UNTAKEN = 64  # a second or two of results; with `draw` each holds a picture


@dataclass
class Desk:
    """The credits and answers of a stream. All methods may be called from any thread.

    Args:
        credits: most pictures under way.

    Attributes:
        dropped: pictures that the service passed over.
        untaken: results that were thrown away because nobody took them.
        ended: how the stream ended.
    """

    credits: int = 0
    dropped: int = 0
    untaken: int = 0
    ended: StreamClosed | None = None
    _finishing: bool = False
    _under_way: set[int] = field(default_factory=set[int])
    _awaited: dict[int, Future[StreamResult]] = field(default_factory=dict[int, "Future[StreamResult]"])
    _changes: deque[Future[StreamOptions]] = field(default_factory=deque["Future[StreamOptions]"])
    _answers: deque[StreamResult | PictureError] = field(default_factory=deque[StreamResult | PictureError])
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def under_way(self) -> int:
        """How many pictures were sent and not acknowledged."""
        return len(self._under_way)

    @property
    def complete(self) -> bool:
        """Whether no more pictures are to come, and all are answered."""
        return self._finishing and not self._under_way and self.ended is None

    def wait_for_credit(self, timeout: float | None) -> None:
        """Wait until a picture may be sent.

        Raises:
            StreamTimeout: for longer than `timeout` seconds none may.
            StreamClosed: none ever may.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.ended or self._free(), timeout):
                raise StreamTimeout(f"{self.under_way} pictures are under way, and none was answered in time")
            self._require_open()

    def take_credit(self, sequence: int, awaited: Future[StreamResult] | None = None) -> bool:
        """Put a picture under way if a credit is free, and say whether it was.

        Args:
            sequence: of the picture.
            awaited: gets its result, which is then not among those to take.

        Raises:
            StreamClosed: the stream is over.
        """
        with self._changed:
            self._require_open()
            if self._finishing:
                raise StreamClosed(1000, "finish() was called: there are to be no more pictures")
            if not self._free():
                return False
            self._under_way.add(sequence)
            if awaited is not None:
                self._awaited[sequence] = awaited
            return True

    def take(self, timeout: float | None) -> StreamResult | None:
        """The oldest answer that nobody took yet; None if there is none within `timeout` seconds.

        Raises:
            PictureError: that is the answer.
            StreamClosed: the stream is over, and there are no more.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._answers or self.ended, timeout):
                return None
            if not self._answers:
                self._require_open()
            answer = self._answers.popleft()
        if isinstance(answer, PictureError):
            raise answer
        return answer

    def forget(self, sequence: int) -> None:
        """Nobody waits for this result any more: it may be taken."""
        with self._changed:
            self._awaited.pop(sequence, None)

    def expect_change(self) -> Future[StreamOptions]:
        """What the service answers to the options that are sent next."""
        future: Future[StreamOptions] = Future()
        with self._changed:
            self._require_open()
            self._changes.append(future)
        return future

    def finish(self) -> None:
        """No more pictures are to come."""
        with self._changed:
            self._finishing = True

    def open(self, credit: int) -> None:
        """Pictures may be sent."""
        with self._changed:
            self.credits = credit
            self._changed.notify_all()

    def put(self, result: StreamResult) -> None:
        """A picture was looked at."""
        with self._changed:
            self._acknowledge(result, result.index)
            if future := self._awaited.pop(result.index, None):
                future.set_result(result)
            else:
                self._keep(result)

    def put_error(self, message: StreamError) -> None:
        """A picture was not looked at, or options were wrong."""
        problem = message.problem
        with self._changed:
            self._acknowledge(message, message.index)
            if message.index is None:
                if self._changes:
                    self._changes.popleft().set_exception(ClientError.of_problem(problem))
                return
            error = PictureError(problem.title, problem.detail, index=message.index, problem=problem)
            if future := self._awaited.pop(message.index, None):
                future.set_exception(error)
            else:
                self._keep(error)

    def put_options(self, options: StreamOptions) -> None:
        """The options were changed."""
        with self._changed:
            if self._changes:
                self._changes.popleft().set_result(options)

    def end(self, closed: StreamClosed) -> None:
        """The stream is over."""
        with self._changed:
            self.ended = closed
            for future in (*self._awaited.values(), *self._changes):
                future.set_exception(closed)
            self._awaited.clear()
            self._changes.clear()
            self._under_way.clear()
            self._changed.notify_all()

    def _acknowledge(self, message: Acknowledgement, index: int | None) -> None:
        self.dropped = max(self.dropped, message.dropped)
        self._under_way.difference_update(message.skipped, () if index is None else (index,))
        for skipped in message.skipped:
            if future := self._awaited.pop(skipped, None):
                future.set_exception(PictureError("Passed over", "a newer picture had arrived", index=skipped))
        self._changed.notify_all()

    def _keep(self, answer: StreamResult | PictureError) -> None:
        if len(self._answers) == MOST_UNTAKEN:
            self._answers.popleft()
            self.untaken += 1
        self._answers.append(answer)
        self._changed.notify_all()

    def _free(self) -> bool:
        return len(self._under_way) < self.credits

    def _require_open(self) -> None:
        if self.ended is not None:
            raise self.ended.with_traceback(None)
