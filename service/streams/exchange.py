"""Pictures in, results out: a stream between its hello and its end.

Two tasks share it: one receives, so that the newest picture is known at any time, and one works, on one picture after
the other, and is the only one that sends.
"""

from __future__ import annotations

import asyncio
import logging
import time

from service.batching import Unavailable
from service.problems import Problem, problem_of
from service.settings import Settings
from service.streams.closing import CloseCode
from service.streams.connection import Connection
from service.streams.ending import StreamEnd, bad_message, restart
from service.streams.header import HEADER_BYTES, Header, HeaderError, Kind
from service.streams.inbox import Inbox, Picture
from service.streams.looking import FORMATS, Look, Looker
from service.streams.messages import Acknowledgement, OptionsChanged, StreamError, StreamOptions, StreamResult
from service.streams.pace import Allowance, Pace
from service.streams.reading import read_options
from service.streams.record import Record
from service.streams.tasks import first_of
from shared.images import ImageError

logger = logging.getLogger(__name__)

TEXT_BURST, TEXT_RATE = 50, 20.0  # messages at once, and a second
_LONGEST_HOLD = 1.0  # seconds


class Exchange:
    """The exchange of pictures and results with one client.

    Args:
        connection: to the client.
        looker: finds people.
        options: to begin with.
        inbox: between the two tasks.
        pace: of the inbox.
        turns: that all streams take.
        record: of the stream.
        settings: of the application.
        identity: of the request, for problems.
    """

    def __init__(
        self,
        connection: Connection,
        looker: Looker,
        options: StreamOptions,
        *,
        inbox: Inbox,
        pace: Pace,
        turns: asyncio.Semaphore,
        record: Record,
        settings: Settings,
        identity: str | None,
    ) -> None:
        self._connection = connection
        self._looker = looker
        self._options = options  # that the next picture is looked at with
        self._asked = options  # that the client wants, as far as has been received
        self._inbox = inbox
        self._pace = pace
        self._turns = turns
        self._record = record
        self._settings = settings
        self._identity = identity
        self._texts = Allowance(TEXT_BURST, TEXT_RATE)

    async def run(self) -> None:
        """Go on until something ends it.

        Raises:
            StreamEnd, ClientGone: always one of them, but for bugs.
        """
        await first_of(self._receive(), self._work())

    async def _receive(self) -> None:
        seconds = self._settings.stream_idle_timeout
        while True:
            message = await self._connection.receive(seconds, f"There was no message for {seconds:g} seconds.")
            if isinstance(message, str):
                self._take_text(message)
            else:
                self._take_picture(message)

    def _take_text(self, message: str) -> None:
        if not self._texts.take():
            detail = f"There were too many text messages; {TEXT_RATE:g} a second are accepted."
            raise StreamEnd(CloseCode.TOO_MANY, Problem(429, "too-many-messages", detail))
        try:
            self._asked = read_options(message, self._asked)
        except Problem as problem:
            self._inbox.change(problem)
        else:
            self._inbox.change(self._asked)

    def _take_picture(self, message: bytes) -> None:
        arrived = time.monotonic()
        limit = self._settings.max_stream_frame_bytes
        if len(message) > HEADER_BYTES + limit:  # a server that was set up otherwise lets it through
            detail = f"A picture has {len(message) - HEADER_BYTES} bytes; at most {limit} are accepted."
            raise StreamEnd(CloseCode.TOO_BIG, Problem(413, "message-too-large", detail))
        try:
            header = Header.unpack(message)
        except HeaderError as error:
            raise bad_message(f"A binary message is no picture: {error}.") from None
        if header.kind is not Kind.PICTURE:
            raise bad_message(f"A binary message is of kind {header.kind:d}; clients send pictures, kind 1.")
        self._inbox.put(Picture(header, bytes(message[HEADER_BYTES:]), arrived))

    async def _work(self) -> None:
        while (item := await self._inbox.take()) is not None:
            if isinstance(item, Picture):
                await self._answer(item)
            elif isinstance(item, Problem):
                await self._send_error(item, None)
            else:
                self._options = item
                await self._connection.send(OptionsChanged(options=item))
        raise restart()

    async def _answer(self, picture: Picture) -> None:
        try:
            async with self._turns:
                picture = self._inbox.newer(picture)
                look = await self._looker.look(picture, self._options)
        except StreamEnd:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the next picture may do
            problem = self._problem(error)
            self._record.failed(problem.kind)
            await self._send_error(problem, picture.header.sequence)
        else:
            self._record.done()
            await self._connection.send(self._result(look))

    def _result(self, look: Look) -> StreamResult:
        acknowledged = self._acknowledge(1)
        return StreamResult.model_construct(  # it is right already, and checking costs more than tracking
            **vars(look.frame), **vars(acknowledged), type="result", picture=look.drawn
        )

    async def _send_error(self, problem: Problem, index: int | None) -> None:
        acknowledged = self._acknowledge(0 if index is None else 1)
        details = problem.details(self._identity)
        await self._connection.send(StreamError(**vars(acknowledged), index=index, problem=details))

    def _acknowledge(self, answered: int) -> Acknowledgement:
        skipped = self._inbox.acknowledge(answered)
        self._record.skipped(len(skipped))
        return Acknowledgement(skipped=skipped, dropped=self._inbox.dropped)

    def _problem(self, error: Exception) -> Problem:
        problem = problem_of(error)
        if problem is None:
            logger.error("a picture of a stream failed", exc_info=error)
            return Problem(500, "internal-error", "This is a bug. The stream's id finds it in the service's log.")
        if isinstance(error, Unavailable):
            problem.members["retry_after"] = error.retry_after
            self._pace.hold(min(error.retry_after, _LONGEST_HOLD))
        if isinstance(error, ImageError):
            problem.members["accepted"] = [f"image/{name}" for name in FORMATS]
        return problem
