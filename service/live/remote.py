"""Live pictures looked at by a service, over a stream that is opened again when it breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from service.client.backoff import Backoff
from service.client.errors import ClientError, PictureError, StreamClosed
from service.client.stream import PoseStream
from service.live.lead import Lead
from service.live.picture import Picture
from service.live.scaling import Size, encode, sent_size, to_source
from service.live.seen import Seen
from service.live.slot import Slot
from service.live.stopping import Stop
from service.streams.messages import StreamResult
from shared.schema import Frame, Person

_TICK = 0.25
_FREED_TICK = 0.05
_DONE = 1000
_LAST_RESULTS_SECONDS = 5.0


class RemoteLooker:
    """Sends the newest picture whenever the service has room for one.

    People keep their ids while one stream lasts. After a break the service begins anew, and its ids are raised here,
    so that no two people of a run share one.

    Args:
        connect: opens a stream.
        backoff: how to wait for a service that is away.
        stop: when to end.
        notify: told in a sentence of pictures that the service could not look at.
    """

    def __init__(
        self, connect: Callable[[], PoseStream], backoff: Backoff, stop: Stop, notify: Callable[[str], None]
    ) -> None:
        self._connect = connect
        self._backoff = backoff
        self._stop = stop
        self._notify = notify
        self._highest_id = 0
        self._stream: PoseStream | None = None
        self._complaints: set[str] = set()

    def open(self) -> None:
        """Connect for the first time.

        Raises:
            ClientError: the service is not there, or refuses; one that says it has no room now is asked again.
        """
        while self._stream is None and not self._stop.requested:
            try:
                self._stream = self._connect()
            except ClientError as error:
                answered = error.status is not None or (isinstance(error, StreamClosed))
                if not (answered and error.passing):
                    raise
                self._backoff.wait(error)

    def results(self, slot: Slot[Picture]) -> Generator[Seen | None, None, None]:
        """Results as they come; see `service.live.seen.Looker`.

        Raises:
            ClientError: the service ended the stream for good, or stays away.
        """
        while (stream := self._stream) is not None:
            self._stream = None
            connection = _Connection(stream, slot, self._highest_id, self._complain)
            try:
                yield from self._received(connection)
            except StreamClosed as closed:
                if slot.finished or self._stop.requested or closed.code == _DONE:
                    return
                self._come_back(closed, slot)
            finally:
                connection.close()
                self._highest_id = max(self._highest_id, connection.highest_id)

    def _received(self, connection: _Connection) -> Generator[Seen | None, None, None]:
        while True:
            try:
                seen = connection.receive(_TICK)
            except PictureError as error:
                self._complain(error)
                seen = None
            if seen is not None:
                self._backoff.reset()
            yield seen

    def _complain(self, error: PictureError) -> None:
        if error.title not in self._complaints:  # it may be said of every picture
            self._complaints.add(error.title)
            self._notify(f"a picture was passed over: {error}")

    def _come_back(self, failure: ClientError, slot: Slot[Picture]) -> None:
        while not (self._stop.requested or slot.finished):
            if not failure.passing:
                raise failure
            self._backoff.wait(failure)
            try:
                self._stream = self._connect()
            except ClientError as error:
                failure = error
            else:
                return


class _Sent(NamedTuple):
    """A picture under way, and when its encoding was begun, of `time.monotonic`."""

    picture: Picture
    begun: float


class _Connection:
    """One stream, with a thread that sends."""

    def __init__(
        self, stream: PoseStream, slot: Slot[Picture], first_id: int, complain: Callable[[PictureError], None]
    ) -> None:
        self.highest_id = first_id
        self._first_id = first_id
        self._stream = stream
        self._slot = slot
        self._complain = complain
        self._lead = Lead()
        self._sent: dict[int | None, _Sent] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._freed = threading.Event()
        self._heard = time.monotonic()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="yaop-send", daemon=True)
        self._thread.start()

    def receive(self, timeout: float) -> Seen | None:
        """The next result, None if there is none in time.

        Raises:
            PictureError: a picture was not looked at.
            StreamClosed: there are no more.
        """
        if self._failure is not None:
            raise self._failure
        try:
            result = self._stream.receive(timeout)
        except PictureError as error:
            self._heard = time.monotonic()
            with self._lock:
                self._sent.pop(error.index, None)
            raise
        finally:
            self._freed.set()
        now = time.monotonic()
        if result is not None or not self._slot.finished:
            self._heard = now
        elif now - self._heard > _LAST_RESULTS_SECONDS:  # a service that hangs may leave a picture in the slot
            raise StreamClosed(_DONE, "the last results did not come")
        return None if result is None else self._seen(result)

    def close(self) -> None:
        """End the stream."""
        self._closed.set()
        self._stream.close()
        self._thread.join()

    def _seen(self, result: StreamResult) -> Seen | None:
        now = time.monotonic()
        with self._lock:  # the picture may have been sent, but not noted yet
            sent = self._sent.pop(result.index, None)
            for sequence in [older for older in self._sent if older is not None and older < result.index]:
                del self._sent[sequence]
        if sent is None:
            return None
        picture = sent.picture
        self._lead.learn(now - sent.begun, result.timing_ms)
        latency = now - picture.taken
        frame = to_source(
            Frame(
                index=picture.index,
                timestamp=round(picture.timestamp, 6),
                width=result.width,
                height=result.height,
                people=[self._raised(person) for person in result.people],
                model=result.model,
                timing_ms=result.timing_ms,
            ),
            Size(picture.pixels.width, picture.pixels.height),
        )
        return Seen(frame, latency)

    def _raised(self, person: Person) -> Person:
        if person.id is None:
            return person
        number = person.id + self._first_id
        self.highest_id = max(self.highest_id, number)
        return person.model_copy(update={"id": number})

    def _run(self) -> None:
        try:
            while not self._closed.is_set() and not self._slot.ended:
                self._send_newest()
            self._stream.finish()
        except StreamClosed:
            return  # whoever receives is told why
        except Exception as error:  # noqa: BLE001 - raised where the results are taken
            self._failure = error

    def _send_newest(self) -> None:
        self._freed.clear()
        if self._stream.under_way >= self._lead.most(self._stream.welcome.credits):
            self._freed.wait(_FREED_TICK)
            return
        picture = self._slot.take(_TICK)  # only now, so that it is the newest
        if picture is None:
            return
        size = sent_size(Size(picture.pixels.width, picture.pixels.height), self._stream.welcome.options.resolution)
        begun = time.monotonic()
        data = encode(picture.pixels, size, self._stream.welcome.limits.frame_bytes)
        try:
            with self._lock:
                self._sent[self._stream.send(data, picture.timestamp)] = _Sent(picture, begun)
        except PictureError as error:  # it was not sent
            self._complain(error)
