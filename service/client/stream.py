"""A live stream: pictures out, the people in them back, over one WebSocket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from service.client.address import shown_address
from service.client.errors import LOST, PictureError, StreamClosed, StreamTimeout
from service.client.stream_desk import Desk
from service.client.stream_messages import Message, MessageError, MessageReader
from service.client.stream_socket import StreamSocket
from service.streams.header import MOST_TIMESTAMP, Header, Kind
from service.streams.messages import OptionsChanged, StreamError, StreamOptions, StreamResult, Welcome
from service.wire import ProblemDetails
from shared.errors import YaopError

_DONE = 1000
_NOT_UNDERSTOOD = 1002
_READER_SECONDS = 10.0

Answer = TypeVar("Answer")


class PoseStream(AbstractContextManager["PoseStream"], Iterator[StreamResult]):
    """A stream of pictures to a service; `service.client.Client.stream` opens it.

    One thread may send while another receives. The service's messages are read in the background as they come, so
    credits return whether or not anybody receives, and sending cannot wait for ever for a result that only the same
    thread would take. The newest results (64) wait to be received; older ones are thrown away and counted in `untaken`.

    Every failure is a `ClientError`: `StreamClosed` once the stream is over, `PictureError` for one picture that the
    service did not look at (the stream goes on), `StreamTimeout` where a timeout was given. A stream does not come
    back by itself: open another one if `ClientError.passing` says that it may help.

    Args:
        url: ``ws://`` or ``wss://``, with the path.
        hello: members of the first message.
        key: of the service.
        open_timeout: seconds to connect, and again to be welcomed.

    Attributes:
        welcome: what the service said at the beginning: topology, model, limits.

    Raises:
        ClientError: nobody answers, or the connection was refused.
        StreamClosed: it was closed at once, e.g. with 1013 (too many streams) or 4400 (an option is wrong).
    """

    def __init__(self, url: str, hello: dict[str, Any], key: str | None = None, open_timeout: float = 10.0) -> None:
        self._socket = StreamSocket(url, key, open_timeout)
        self._desk = Desk()
        self._sending = threading.Lock()
        self._sequence = 0
        self._closing = False
        self._problem: ProblemDetails | None = None
        self._options = StreamOptions()
        self._started = time.monotonic()
        welcome: Future[Welcome] = Future()
        self._reader = threading.Thread(target=self._read, args=(welcome,), name="yaop-stream", daemon=True)
        self._reader.start()
        try:
            self._push(json.dumps({"type": "hello", **({"key": key} if key else {}), **hello}))
            self.welcome = _result(welcome, open_timeout, f"{shown_address(url)} does not answer to hello")
        except BaseException:
            self.close()
            raise

    @property
    def options(self) -> StreamOptions:
        """The options in force, as the service last told them."""
        return self._options

    @property
    def under_way(self) -> int:
        """How many pictures were sent, and not answered or passed over yet."""
        return self._desk.under_way

    @property
    def dropped(self) -> int:
        """How many pictures that were sent the service passed over because newer ones had arrived."""
        return self._desk.dropped

    @property
    def untaken(self) -> int:
        """How many results were thrown away here because nobody received them in time."""
        return self._desk.untaken

    def offer(self, picture: bytes, timestamp: float | None = None) -> int | None:
        """Send a picture if a credit is free.

        Args:
            picture: what is in a JPEG or WebP file.
            timestamp: when it was taken, in seconds of your clock; by default seconds since the stream opened.

        Returns:
            Its sequence number, the `index` of its result; None if no credit was free, and nothing was sent.

        Raises:
            PictureError: it is larger than the service takes; nothing was sent, and the stream goes on.
            StreamClosed: the stream is over.
        """
        return self._offer(picture, timestamp)

    def send(self, picture: bytes, timestamp: float | None = None, timeout: float | None = None) -> int:
        """Send a picture as soon as a credit is free.

        Args:
            picture: what is in a JPEG or WebP file.
            timestamp: as in `offer`.
            timeout: seconds to wait for a credit; None: as long as the stream lives.

        Returns:
            Its sequence number, the `index` of its result.

        Raises:
            StreamTimeout: no credit came; nothing was sent.
            PictureError: as from `offer`.
            StreamClosed: the stream is over.
        """
        return self._send(picture, timestamp, timeout)

    def receive(self, timeout: float | None = None) -> StreamResult | None:
        """The next result, in the order the service gave them; None if there is none within `timeout` seconds.

        What was answered before the stream ended can be received after that, too.

        Raises:
            PictureError: the next answer is that a picture was not looked at. The stream goes on: call again.
            StreamClosed: the stream is over, and everything was received; its code is 1000 after `finish` or `close`.
        """
        return self._desk.take(timeout)

    def estimate(self, picture: bytes, timestamp: float | None = None, timeout: float | None = None) -> StreamResult:
        """Send a picture and wait for its result; results of other pictures stay for `receive`.

        Raises:
            StreamTimeout: it took longer than `timeout` seconds. If its result comes later, `receive` gives it.
            PictureError: it was not looked at, or it was passed over for a newer one that another thread sent.
            StreamClosed: the stream is over.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        awaited: Future[StreamResult] = Future()
        sequence = self._send(picture, timestamp, timeout, awaited)
        try:
            rest = None if ends is None else max(0.0, ends - time.monotonic())
            return _result(awaited, rest, "the picture is not answered")
        except StreamTimeout:
            self._desk.forget(sequence)
            if awaited.done():  # it came after all, before it was forgotten
                return awaited.result()
            raise
        finally:
            self._desk.forget(sequence)

    def change(self, timeout: float = 10.0, **options: Any) -> StreamOptions:
        """Change options: `resolution`, `min_score`, `max_people`, `track`, `smooth`, `draw`; the others stay.

        This waits for the service's answer; results that come before it stay for `receive`.

        Returns:
            All options as they are now.

        Raises:
            ClientError: there is no such option, or its value is wrong; nothing has changed.
            StreamTimeout: no answer in `timeout` seconds.
            StreamClosed: the stream is over.
        """
        with self._sending:
            answer = self._desk.expect_change()
            self._push(json.dumps({"type": "options", **options}))
        return _result(answer, timeout, "the change of options is not answered")

    def finish(self) -> None:
        """No more pictures: once those under way are answered, the stream closes, and iterating over it ends."""
        self._desk.finish()
        self._close_if_complete()

    def close(self) -> None:
        """End the stream now; what is under way is lost. It takes seconds at most, whatever the network does."""
        self._closing = True
        self._socket.close()
        self._reader.join(_READER_SECONDS)

    def __next__(self) -> StreamResult:
        """The next result.

        Raises:
            StopIteration: after `close`; after `finish` and the last result.
            PictureError: as from `receive`; iterating may go on.
            StreamClosed: the service ended the stream, or the connection was lost.
        """
        try:
            result = self.receive()
        except StreamClosed:
            if self._closing:
                raise StopIteration from None
            raise
        assert result is not None
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self,
        picture: bytes,
        timestamp: float | None,
        timeout: float | None,
        awaited: Future[StreamResult] | None = None,
    ) -> int:
        ends = None if timeout is None else time.monotonic() + timeout
        while (sequence := self._offer(picture, timestamp, awaited)) is None:
            self._desk.wait_for_credit(None if ends is None else max(0.0, ends - time.monotonic()))
        return sequence

    def _offer(
        self, picture: bytes, timestamp: float | None, awaited: Future[StreamResult] | None = None
    ) -> int | None:
        taken = time.monotonic() - self._started if timestamp is None else timestamp
        self._check(picture, taken)
        with self._sending:  # so that numbers go out in their order
            sequence = self._sequence
            if not self._desk.take_credit(sequence, awaited):
                return None
            self._sequence += 1
            self._push(Header(Kind.PICTURE, sequence, taken).pack() + picture)
            return sequence

    def _check(self, picture: bytes, timestamp: float) -> None:
        if not 0 <= timestamp <= MOST_TIMESTAMP:
            raise YaopError(f"the timestamp is {timestamp}; it has to be from 0 to {MOST_TIMESTAMP:g} seconds")
        most = self.welcome.limits.frame_bytes
        if len(picture) > most:
            raise PictureError("Picture too large", f"it has {len(picture)} bytes; at most {most} are accepted")

    def _push(self, message: str | bytes) -> None:
        try:
            self._socket.send(message)
        except StreamClosed as closed:
            self._reader.join(_READER_SECONDS)  # it has heard why
            raise self._desk.ended or closed from closed

    def _read(self, welcome: Future[Welcome]) -> None:
        messages = MessageReader()
        closed = StreamClosed(LOST, "reading failed")
        try:
            while True:
                for message in messages.read(self._socket.receive()):
                    self._handle(message, welcome)
        except StreamClosed as error:
            closed = error
        except MessageError as error:
            closed = StreamClosed(_NOT_UNDERSTOOD, f"a message is not what this version of YAOP expects: {error}")
            self._socket.close(_NOT_UNDERSTOOD)
        finally:
            for message in messages.rest():
                self._handle(message, welcome)
            self._end(closed, welcome)

    def _handle(self, message: Message, welcome: Future[Welcome]) -> None:
        match message:
            case Welcome() if not welcome.done():
                self._options = message.options
                self._desk.open(message.credits)
                welcome.set_result(message)
            case Welcome():
                pass  # nobody asked for a second one
            case OptionsChanged():
                self._options = message.options
                self._desk.put_options(message.options)
            case StreamResult():
                self._desk.put(message)
            case StreamError(fatal=True):
                self._problem = message.problem
            case StreamError():
                self._desk.put_error(message)
        self._close_if_complete()

    def _close_if_complete(self) -> None:
        if self._desk.complete:
            self._closing = True
            self._socket.close()

    def _end(self, closed: StreamClosed, welcome: Future[Welcome]) -> None:
        if self._closing:
            closed = StreamClosed(_DONE, "it was closed here")
        elif self._problem is not None:
            closed = StreamClosed(closed.code, closed.reason, self._problem)
        self._desk.end(closed)
        if not welcome.done():
            welcome.set_exception(closed)


def _result(future: Future[Answer], timeout: float | None, complaint: str) -> Answer:
    try:
        return future.result(timeout)
    except TimeoutError:
        raise StreamTimeout(f"{complaint} in {timeout:.3g} seconds") from None
