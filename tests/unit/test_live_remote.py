"""Looking by a service: what is made of its answers; the stream itself is scripted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.client.backoff import Backoff, Patience
from service.client.errors import ClientError, PictureError, StreamClosed
from service.live.picture import BgrPixels, Picture
from service.live.remote import RemoteLooker
from service.live.seen import Seen
from service.live.slot import Slot
from service.live.stopping import Stop
from service.streams.messages import StreamOptions, StreamResult
from shared.images import decode_image
from shared.schema import Keypoint, ModelRef, Person

MODEL = ModelRef(name="discs", version="1")
Answer = StreamResult | ClientError | None
Reply = Callable[[int, bytes], Answer]


class FakeStream:
    """As much of `PoseStream` as is used: each picture gets the reply of a script, and the end is closed in order."""

    def __init__(self, reply: Reply, credit: int = 2) -> None:
        self.welcome = SimpleNamespace(credits=credit, options=StreamOptions(resolution=128))
        self.sent: list[float] = []
        self.closed = False
        self._reply = reply
        self._answers: deque[Answer] = deque()
        self._changed = threading.Condition()

    @property
    def under_way(self) -> int:
        return len(self._answers)

    def send(self, picture: bytes, timestamp: float) -> int:
        with self._changed:
            if self.closed:
                raise StreamClosed(1000, "closed")
            self.sent.append(timestamp)
            self._answers.append(self._reply(len(self.sent) - 1, picture))
            self._changed.notify_all()
            return len(self.sent) - 1

    def receive(self, timeout: float) -> StreamResult | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._answers, timeout):
                if self.closed:
                    raise StreamClosed(1000, "closed")
                return None
            answer = self._answers.popleft()
            self._changed.notify_all()
        if isinstance(answer, ClientError):
            raise answer
        return answer

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def result(sequence: int, picture: bytes, person: int = 1) -> StreamResult:
    """One person, whose nose is in the middle of the last column."""
    height, width = decode_image(picture).shape[:2]
    nose = Keypoint(x=width - 1, y=(height - 1) / 2, score=0.9)
    people = [Person(id=person, score=0.9, bbox=(nose.x, nose.y, 0, 0), keypoints={"nose": nose})]
    return StreamResult(index=sequence, timestamp=7, width=width, height=height, people=people, model=MODEL)


def pictures(count: int, first: int = 0) -> Slot[Picture]:
    """A slot that the next picture is put into as soon as the last was taken."""
    slot: Slot[Picture] = Slot()
    waiting = deque(range(first, first + count))
    take = slot.take

    def put_next() -> None:
        if waiting:
            index = waiting.popleft()
            slot.put(Picture(index, index / 10, BgrPixels(np.full((240, 320, 3), 90, np.uint8))))
        else:
            slot.finish()

    def take_and_put(timeout: float) -> Picture | None:
        taken = take(timeout)
        put_next()
        return taken

    slot.take = take_and_put  # type: ignore[method-assign]
    put_next()
    return slot


class Run:
    """A looker over scripted streams, with what it told and how often it waited."""

    def __init__(self, *streams: FakeStream | ClientError, patience: float = 60) -> None:
        self.notes: list[str] = []
        self.waits: list[float] = []
        self.stop = Stop()
        self._streams = deque(streams)
        backoff = Backoff(Patience(patience, None, sleep=self.waits.append, clock=lambda: sum(self.waits)))
        self.looker = RemoteLooker(self._connect, backoff, self.stop, self.notes.append)

    def _connect(self) -> Any:
        stream = self._streams.popleft()
        if isinstance(stream, ClientError):
            raise stream
        return stream

    def results(self, slot: Slot[Picture]) -> list[Seen]:
        self.looker.open()
        return [seen for seen in self.looker.results(slot) if seen is not None]


def test_results_are_in_pixels_of_the_source_and_have_its_numbers_and_times() -> None:
    stream = FakeStream(result)
    seen = Run(stream).results(pictures(5, first=40))
    assert [one.frame.index for one in seen] == [40, 41, 42, 43, 44]
    assert [one.frame.timestamp for one in seen] == stream.sent == [4.0, 4.1, 4.2, 4.3, 4.4]
    for one in seen:
        assert (one.frame.width, one.frame.height) == (320, 240)
        nose = one.frame.people[0].keypoints["nose"]
        assert nose
        assert (nose.x, nose.y) == pytest.approx((318.67, 119.5), abs=0.01)  # sent as 192 x 144
        assert 0 <= one.latency < 30


def test_pictures_that_are_passed_over_are_missed() -> None:
    def reply(sequence: int, picture: bytes) -> Answer:
        if sequence % 2:
            return PictureError("Busy", "no room", index=sequence)
        return result(sequence, picture)

    run = Run(FakeStream(reply))
    assert [one.frame.index for one in run.results(pictures(6))] == [0, 2, 4]
    assert run.notes == ["a picture was passed over: Busy: no room"]  # told once


def test_after_a_break_nobody_gets_anothers_id() -> None:
    def breaks(sequence: int, picture: bytes) -> Answer:
        return result(sequence, picture, 1 + sequence) if sequence < 3 else StreamClosed(1012, "restart")

    run = Run(FakeStream(breaks), ClientError("No answer", "refused"), FakeStream(result))
    seen = run.results(pictures(10))
    ids = [person.id for one in seen for person in one.frame.people]
    assert ids[:3] == [1, 2, 3]
    assert set(ids[3:]) == {4}
    assert [one.frame.index for one in seen] == sorted({one.frame.index for one in seen})
    assert len(run.waits) == 2


def test_a_stream_that_is_refused_for_good_is_an_error() -> None:
    run = Run(FakeStream(lambda sequence, picture: StreamClosed(4400, "bad message")))
    with pytest.raises(StreamClosed, match="bad message"):
        run.results(pictures(5))
    assert run.waits == []


def test_a_service_that_stays_away_is_given_up() -> None:
    gone = [ClientError("No answer", "refused") for _ in range(100)]
    run = Run(FakeStream(lambda sequence, picture: StreamClosed(1006, "lost")), *gone, patience=20)
    with pytest.raises(ClientError, match="refused"):
        run.results(pictures(10**6))
    assert 3 < len(run.waits) < 20


def test_nobody_there_at_first_is_an_error_at_once() -> None:
    run = Run(ClientError("No answer", "refused"))
    with pytest.raises(ClientError, match="refused"):
        run.results(pictures(1))
    assert run.waits == []


def test_a_service_without_room_is_asked_again() -> None:
    run = Run(StreamClosed(1013, "too many"), ClientError("Queue full", "busy", status=503), FakeStream(result))
    assert len(run.results(pictures(2))) == 2
    assert len(run.waits) == 2


def test_a_break_after_the_last_picture_needs_no_new_stream() -> None:
    slot = pictures(1)
    run = Run(FakeStream(lambda sequence, picture: StreamClosed(1012, "restart")))
    assert run.results(slot) == []
    assert run.waits == []


def test_who_was_asked_to_stop_does_not_come_back() -> None:
    run = Run(FakeStream(lambda sequence, picture: StreamClosed(1012, "restart")))
    run.stop.request()
    run.looker._stream = run._connect()
    assert [seen for seen in run.looker.results(pictures(100)) if seen] == []
    assert run.waits == []


def test_a_failure_of_the_sending_side_is_raised() -> None:
    def fail(sequence: int, picture: bytes) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Run(FakeStream(fail)).results(pictures(3))
