"""All of the service's API, as a class."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

import httpx

from service.client.backoff import Notify, Patience
from service.client.connection import Connection
from service.client.picture_calls import PictureCalls
from service.client.status_calls import StatusCalls
from service.client.video_calls import VideoCalls

if TYPE_CHECKING:
    from service.client.stream import PoseStream


class Client(PictureCalls, VideoCalls, StatusCalls, AbstractContextManager["Client"]):
    """Calls a service. Uploads, waits and downloads go on through its restarts; all other calls are made once.

    Every failure is a `ClientError` (or, for files on this side, another `shared.errors.YaopError`).

    Args:
        url: of the service, e.g. ``http://127.0.0.1:8000``; that of its streams, ``ws://127.0.0.1:8000/stream``, is
            understood, too.
        key: sent as ``Authorization: Bearer``.
        patience: seconds to wait for a service that was there and is not.
        notify: told in a sentence of each wait.
        transport: in place of the network.
        sleep: in place of `time.sleep`.

    Raises:
        YaopError: `url` is no address, or the key holds what cannot be sent.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience: float = 300.0,
        notify: Notify | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(Connection(url, key, transport), Patience(patience, notify, sleep))
        self._key = key

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; streams are closed by themselves."""
        self._connection.close()

    def stream(
        self,
        *,
        resolution: str | int | None = None,
        min_score: float | None = None,
        max_people: int | None = None,
        model: str | None = None,
        track: bool | None = None,
        smooth: bool | None = None,
        draw: bool | None = None,
        credits: int | None = None,  # noqa: A002
        open_timeout: float = 10.0,
    ) -> PoseStream:
        """Open a live stream; what is None is left to the service.

        Args:
            resolution: long side of the network's input: a name or pixels.
            min_score: people with a lower score are left out.
            max_people: most people given.
            model: name of a loaded model.
            track: give people ids, which stay theirs.
            smooth: smooth keypoints over time.
            draw: each result carries its picture with the skeletons drawn in.
            credits: most pictures under way.
            open_timeout: seconds to connect, and again to be welcomed.

        Raises:
            ClientError: nobody answers, or the service refused.
            StreamClosed: it closed the stream at once: an option is wrong (4400), or there are too many (1013).
        """
        from service.client.stream import PoseStream

        given = {
            "resolution": resolution,
            "min_score": min_score,
            "max_people": max_people,
            "model": model,
            "track": track,
            "smooth": smooth,
            "draw": draw,
            "credits": credits,
        }
        hello = {name: value for name, value in given.items() if value is not None}
        return PoseStream(self._connection.stream_url, hello, self._key, open_timeout)
