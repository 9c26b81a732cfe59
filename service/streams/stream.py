"""One stream from its first message to its last."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from service.models import LoadedModel
from service.pipeline import PictureLimits
from service.problems import Problem
from service.runtime import Runtime
from service.streams.closing import CloseCode
from service.streams.connection import Connection
from service.streams.ending import ClientGone, StreamEnd, restart
from service.streams.exchange import Exchange
from service.streams.following import load_tracking
from service.streams.inbox import Inbox
from service.streams.looking import FORMATS, Looker
from service.streams.messages import Hello, StreamError, StreamLimits, Welcome
from service.streams.pace import Pace
from service.streams.reading import read_hello
from service.streams.record import Record
from service.streams.tasks import first_of
from service.topology import Topology

logger = logging.getLogger(__name__)

HELLO_SECONDS = 10.0


class Stream:
    """A client that sends pictures, one after the other.

    Args:
        connection: to it.
        runtime: of the application.
        identity: of the request; the client is told it, and the logs carry it.
    """

    def __init__(self, connection: Connection, runtime: Runtime, identity: str | None) -> None:
        self._connection = connection
        self._runtime = runtime
        self._settings = runtime.settings
        self._identity = identity
        self._pace = Pace(runtime.settings.max_stream_fps)
        self._inbox = Inbox(self._pace)
        self._record = Record(runtime.metrics)
        self._greeted = False
        self._to_end = asyncio.Event()

    async def run(self, address: str | None) -> None:
        """Everything, to the end of the connection.

        Args:
            address: of the client.
        """
        code, reason = int(CloseCode.RESTART), "cancelled"
        with ExitStack() as place:
            try:
                place.enter_context(self._runtime.streams.place(self, address))
                await first_of(self._talk(), self._until_to_end())
            except ClientGone as gone:
                code, reason = gone.code, "the client is gone"
            except Exception as error:  # noqa: BLE001 - a bug has to end its stream properly
                end = _as_end(error)
                code, reason = int(end.code), end.reason
                await self._connection.end(end, self._last_message(end))
            finally:
                self._record.end(code, reason, self._inbox.dropped)

    def drain(self) -> None:
        """Answer the pictures that are here, then end."""
        self._inbox.close()
        if not self._greeted:
            self._to_end.set()

    def give_up(self) -> None:
        """End now."""
        self._to_end.set()

    async def _until_to_end(self) -> None:
        await self._to_end.wait()
        raise restart()

    async def _talk(self) -> None:
        first = await self._connection.receive(HELLO_SECONDS, f"There was no hello within {HELLO_SECONDS:g} seconds.")
        hello = read_hello(first)
        model = self._model(hello)
        if hello.track:
            await asyncio.to_thread(load_tracking)
        self._connection.encoding = hello.encoding
        self._inbox.credits = hello.credits
        self._greeted = True
        await self._connection.send(self._welcome(hello, model))
        await self._exchange(hello, model).run()

    def _model(self, hello: Hello) -> LoadedModel:
        models = self._runtime.served.current
        model = models.get(hello.model)
        if model is None:
            detail = f"There is no model named {hello.model}. Loaded: {', '.join(models.names)}."
            raise StreamEnd(CloseCode.BAD_MESSAGE, Problem(404, "model-not-found", detail))
        return model

    def _welcome(self, hello: Hello, model: LoadedModel) -> Welcome:
        settings = self._settings
        return Welcome(
            id=self._identity,
            model=model.ref,
            topology=Topology.of(model.skeleton),
            options=hello.options(),
            credits=hello.credits,
            limits=StreamLimits(
                frame_bytes=settings.max_stream_frame_bytes,
                frame_pixels=settings.max_stream_pixels,
                fps=settings.max_stream_fps,
                idle_seconds=settings.stream_idle_timeout,
            ),
        )

    def _exchange(self, hello: Hello, model: LoadedModel) -> Exchange:
        runtime = self._runtime
        limits = PictureLimits(self._settings.max_stream_pixels, FORMATS)
        looker = Looker(model, runtime.served, runtime.pipeline, runtime.workers, runtime.metrics, limits)
        return Exchange(
            self._connection,
            looker,
            hello.options(),
            inbox=self._inbox,
            pace=self._pace,
            turns=runtime.streams.turns,
            record=self._record,
            settings=self._settings,
            identity=self._identity,
        )

    def _last_message(self, end: StreamEnd) -> StreamError:
        skipped = self._inbox.acknowledge(0)
        self._record.skipped(len(skipped))
        problem = end.problem.details(self._identity)
        return StreamError(fatal=True, skipped=skipped, dropped=self._inbox.dropped, problem=problem)


def _as_end(error: Exception) -> StreamEnd:
    """How an error ends a stream; one that is nobody's fault but ours is logged."""
    if isinstance(error, StreamEnd):
        return error
    logger.error("unhandled error in a stream", exc_info=error)
    detail = "This is a bug. The stream's id finds it in the service's log."
    return StreamEnd(CloseCode.INTERNAL_ERROR, Problem(500, "internal-error", detail))
