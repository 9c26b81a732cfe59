"""Looking by a service: what is made of its answers; the stream itself is scripted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
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
from service.live.source import Capture
from service.live.stopping import Stop
from service.streams.messages import StreamOptions, StreamResult
from shared.images import decode_image
from shared.schema import Keypoint, ModelRef, Person

MODEL = ModelRef(name="discs", version="1")
Answer = StreamResult | ClientError | None
Reply = Callable[[int, bytes], Answer]


class FakeStream:
    """As much of `PoseStream` as is used: each picture gets the reply of a script, and the end is closed in order."""

    def __init__(self, reply: Reply, credit: int = 2, most_bytes: int = 10**6) -> None:
        limits = SimpleNamespace(frame_bytes=most_bytes)
        self.welcome = SimpleNamespace(credits=credit, options=StreamOptions(resolution=128), limits=limits)
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
            if len(picture) > self.welcome.limits.frame_bytes:
                raise PictureError("Picture too large", f"it has {len(picture)} bytes")
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


class HangingStream(FakeStream):
    """Takes pictures, and never answers; it takes the end no better."""

    def __init__(self) -> None:
        super().__init__(lambda sequence, picture: None)

    def receive(self, timeout: float) -> StreamResult | None:
        time.sleep(0.005)
        return None

    def finish(self) -> None:
        pass


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


def test_pictures_that_are_too_large_are_told_once_and_do_not_keep_it_from_ending() -> None:
    run = Run(FakeStream(result, most_bytes=10))
    run.looker.open()
    slot: Slot[Picture] = Slot()
    rng = np.random.default_rng(1)
    results = run.looker.results(slot)
    for index in range(3):
        slot.put(Picture(index, index / 10, BgrPixels(rng.integers(0, 255, (24, 32 + index, 3), np.uint8))))
        assert next(results) is None  # so whoever runs it may look whether it is time to end
        while slot._item is not None:
            assert next(results) is None
    slot.finish()
    assert [seen for seen in results if seen] == []
    assert len(run.notes) == 1
    assert run.notes[0].startswith("a picture was passed over: Picture too large: it has ")


def test_pictures_that_are_a_little_too_large_go_out_in_lower_quality() -> None:
    noise = BgrPixels(np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8))
    sizes: list[int] = []

    def reply(sequence: int, picture: bytes) -> Answer:
        sizes.append(len(picture))
        return result(sequence, picture)

    for most in (10**6, 15_000):
        slot: Slot[Picture] = Slot()
        slot.put(Picture(0, 0.0, noise))
        slot.finish()
        run = Run(FakeStream(reply, most_bytes=most))
        assert len(run.results(slot)) == 1
        assert run.notes == []
    assert sizes[1] < 15_000 < sizes[0]


def test_a_service_that_hangs_is_waited_for_no_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.live.remote._LAST_RESULTS_SECONDS", 0.1)
    slot: Slot[Picture] = Slot()
    run = Run(HangingStream())
    run.looker.open()
    results = run.looker.results(slot)
    for index in range(3):  # one more than there are credits
        slot.put(Picture(index, index / 10, BgrPixels(np.full((24, 32, 3), 90, np.uint8))))
        while index < 2 and slot._item is not None:
            assert next(results) is None
    ends = time.monotonic() + 0.3
    while time.monotonic() < ends:
        assert next(results) is None  # a service may be slow for as long as there are pictures
    slot.finish()
    for seen in results:
        assert seen is None
        assert time.monotonic() < ends + 10
    assert not slot.ended
    assert run.waits == []


def test_a_clip_that_has_ended_does_not_wait_for_a_service_that_is_away() -> None:
    slot = pictures(10**6)
    gone = ClientError("No answer", "refused")
    run = Run(FakeStream(lambda sequence, picture: StreamClosed(1006, "lost")), *[gone] * 100)

    def sleep(seconds: float) -> None:
        run.waits.append(seconds)
        if len(run.waits) == 3:
            slot.finish()  # with a picture that nobody took

    run.looker._backoff = Backoff(Patience(1e9, None, sleep=sleep))
    assert run.results(slot) == []
    assert len(run.waits) == 3


def test_the_end_of_a_source_ends_a_wait_that_is_under_way() -> None:
    class Short:
        size = None

        def pictures(self) -> Iterator[Picture]:
            yield Picture(0, 0.0, BgrPixels(np.full((24, 32, 3), 90, np.uint8)))

        def stop(self) -> None:
            pass

    stop = Stop()
    with Capture(Short(), stop.wake) as capture:
        start = time.monotonic()
        waiting = threading.Thread(target=stop.wait, args=(60,))
        waiting.start()
        capture.start()
        waiting.join(60)
        assert time.monotonic() - start < 30
        assert capture.slot.finished
        assert not capture.slot.ended
    assert not stop.requested
