"""Frames through the engine, a few ahead of whoever takes the results, so that the engine never waits for them."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import NamedTuple, Self

from service.batching import Answer, Batcher, Priority, QueueFull
from service.media.frame import VideoFrame
from service.models import LoadedModel
from shared.assembly import People
from shared.inference.estimator import PoseOptions, Prepared, finish, fit

AHEAD = 4
_RETRY_SECONDS = 0.05


class Estimated(NamedTuple):
    """A frame and who is in it.

    Attributes:
        frame: as it was decoded.
        people: in pixels of the frame; None if it was not looked at.
        timing_ms: milliseconds of the phases; empty if it was not looked at.
    """

    frame: VideoFrame
    people: People | None
    timing_ms: dict[str, float]


class _Submitted(NamedTuple):
    frame: VideoFrame
    prepared: Prepared | None
    answer: Future[Answer] | None


class Estimating(Iterator[Estimated]):
    """Iterates over the frames in order, with the people of those that are looked at.

    A thread reads frames and queues them for the engine, behind everything interactive; assembly happens on the
    thread that iterates. A frame that repeats the one before (the rate was raised) shares its engine call.

    Args:
        frames: read on the thread; closed by whoever opened it, after `close`.
        batcher: the queue in front of the engine.
        model: what looks at them.
        options: how.
        looks_at: which frames to look at; asked on the thread, once a frame, in order.
        ahead: how many frames may be under way.
    """

    def __init__(
        self,
        frames: Iterator[VideoFrame],
        batcher: Batcher,
        model: LoadedModel,
        options: PoseOptions,
        *,
        looks_at: Callable[[VideoFrame], bool] = lambda frame: True,
        ahead: int = AHEAD,
    ) -> None:
        self._frames = frames
        self._batcher = batcher
        self._model = model
        self._options = options
        self._looks_at = looks_at
        self._queue: queue.Queue[_Submitted | BaseException | None] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="yaop-frames", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> Estimated:
        """The next frame.

        Raises:
            VideoError: of the reader. Closed, EngineFailed: of the batcher.
        """
        item = self._queue.get()
        if item is None or isinstance(item, BaseException):
            self._queue.put(item)  # for the next call
            if item is None:
                raise StopIteration
            raise item
        return self._finish(item)

    def close(self) -> None:
        """Stop reading and take back what waits for the engine."""
        self._stopped.set()
        self._drain()
        self._thread.join()
        self._drain()

    def _finish(self, item: _Submitted) -> Estimated:
        if item.prepared is None or item.answer is None:
            return Estimated(item.frame, None, {})
        answer = item.answer.result()
        start = time.monotonic()
        people = finish(
            answer.value.peaks, answer.value.limb_scores, item.prepared, self._options, self._model.skeleton
        )
        timing = {"network": answer.ran * 1000, "assembly": (time.monotonic() - start) * 1000}
        return Estimated(item.frame, people, timing)

    def _drain(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, _Submitted) and item.answer is not None:
                    item.answer.cancel()

    def _read(self) -> None:
        try:
            last: _Submitted | None = None
            for frame in self._frames:
                last = self._submit(frame, last)
                if not self._put(last):
                    return
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: _Submitted | BaseException | None) -> bool:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=_RETRY_SECONDS)
                return True
        return False

    def _submit(self, frame: VideoFrame, last: _Submitted | None) -> _Submitted:
        if not self._looks_at(frame):
            return _Submitted(frame, None, None)
        if last is not None and last.answer is not None and last.frame.pts == frame.pts:
            return last._replace(frame=frame)
        box = fit(frame.width, frame.height, self._options, self._model.engine.shapes)
        prepared = Prepared(frame.letterboxed(box), box)
        return _Submitted(frame, prepared, self._queued(prepared))

    def _queued(self, prepared: Prepared) -> Future[Answer] | None:
        while not self._stopped.is_set():
            with contextlib.suppress(QueueFull):
                return self._batcher.submit(
                    self._model.background_pose,
                    prepared.images[0],
                    priority=Priority.BACKGROUND,
                    limit=self._model.batch_limit,
                )
            self._stopped.wait(_RETRY_SECONDS)
        return None
