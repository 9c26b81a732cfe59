"""A camera, or a clip, at an address."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from service.client.backoff import Backoff, Patience
from service.client.errors import ClientError
from service.live.children import ENDLESS, StoppableChild
from service.live.picture import Picture
from service.live.stopping import Stop
from service.media.child import Child
from service.media.frame import VideoFrame
from service.media.limits import DEFAULT_LIMITS
from service.media.upright import UprightPlanes
from service.media.video_errors import VideoError
from shared.errors import YaopError

SCHEMES = ("rtsp", "rtsps", "http", "https")
_PATIENCE_SECONDS = 300.0
_STALL_SECONDS = 10.0
_LEAST_STEP = 1e-3

_Pictures = Generator[Picture, None, dict[str, Any]]


class NetworkCamera:
    """Gives the pictures of an address as they come, and connects again when they stop.

    They are received and decoded in a child process. Addresses may hold passwords: no message tells more of this one
    than its scheme, host and port.

    Args:
        url: of the camera.
        notify: told in a sentence of each try to connect again.
        patience: seconds without pictures after which it gives up.
        stall_seconds: without a picture after which the connection counts as broken.

    Attributes:
        size: None; it is not known before the first picture.

    Raises:
        YaopError: the address is none that can be opened.
    """

    def __init__(
        self,
        url: str,
        notify: Callable[[str], None],
        patience: float = _PATIENCE_SECONDS,
        stall_seconds: float = _STALL_SECONDS,
    ) -> None:
        self.size: tuple[int, int] | None = None
        self._origin = _origin(url)
        self._stall_seconds = stall_seconds
        self._stop = Stop()
        self._backoff = Backoff(Patience(patience, notify, sleep=self._stop.wait))
        request = {"url": url, "ca_file": _authorities(), "max_pixels": DEFAULT_LIMITS.max_pixels}
        limits = {"memory_bytes": DEFAULT_LIMITS.memory_bytes, "cpu_seconds": ENDLESS}
        self._child = StoppableChild("service.live.network_child", request | {"limits": limits})
        self._clock = _Clock()
        self._count = 0

    def pictures(self) -> Iterator[Picture]:
        """The pictures, to the end of a clip, or to `stop`.

        Raises:
            YaopError: there never were any, or there are none any more.
        """
        while not self._child.stopped:
            ending = yield from self._connection()
            if self._child.stopped or ending.get("complete"):
                return
            failure = ClientError(self._origin, str(ending["closed"]))
            if not self._count or not ending["passing"]:
                raise failure
            self._backoff.wait(failure)

    def stop(self) -> None:
        """End `pictures`."""
        self._stop.request()
        self._child.stop()

    def _connection(self) -> _Pictures:
        """The pictures of one connection, and then why it ended."""
        with self._child.running() as child:
            if child is None:
                return {}
            try:
                return (yield from self._received(child))
            except VideoError as error:
                stalled = error.reason == "too-slow"
                reason = f"it gives no pictures for {self._stall_seconds:g} s" if stalled else str(error)
                return {"closed": reason, "passing": stalled or error.reason in ("corrupt", "interrupted")}

    def _received(self, child: Child) -> _Pictures:
        form = child.receive(self._stall_seconds)
        if "closed" in form:
            return form
        upright = UprightPlanes(form["width"], form["height"], form["rotation"], mirrored=form["mirrored"])
        size = (form["height"], form["width"]) if form["rotation"] % 180 else (form["width"], form["height"])
        first, clock = self._count, self._clock
        clock.connect()
        while "closed" not in (message := child.receive(self._stall_seconds)):
            planes = upright.receive(lambda view: child.read_into(view, self._stall_seconds))
            index, now = first + int(message["index"]), time.monotonic()
            seconds = clock.seconds(message["time"], now)
            self._backoff.reset()
            self._count = index + 1
            yield Picture(index, seconds, VideoFrame(index, seconds, 0, *size, planes, form["matrix"]), now)
        return message


class _Clock:
    """Times of pictures, which always rise.

    They go by the camera's clock, which knows no jitter, from when a connection began; where the camera tells no times,
    by this machine's.
    """

    def __init__(self) -> None:
        self._start: float | None = None
        self._offset: float | None = None
        self._last = -_LEAST_STEP

    def connect(self) -> None:
        """The next picture is the first of a connection."""
        self._offset = None

    def seconds(self, told: float | None, now: float) -> float:
        """The time of a picture, from that of the first one.

        Args:
            told: by the camera's clock, in seconds; None if it tells none.
            now: of `time.monotonic`, when the picture came.
        """
        self._start = now if self._start is None else self._start
        here = now - self._start
        if told is not None and self._offset is None:
            self._offset = here - told
        seconds = here if told is None or self._offset is None else told + self._offset
        self._last = max(seconds, self._last + _LEAST_STEP)
        return self._last


def _origin(url: str) -> str:
    """Scheme, host and port of an address that can be opened."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise YaopError("the address of the camera is not valid; one looks like rtsp://192.168.1.20/stream1") from None
    if parts.scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise YaopError(f"{parts.scheme}:// addresses are not opened; those of cameras begin with {schemes}")
    if not host:
        raise YaopError(f"the address {parts.scheme}:// names no host; one looks like rtsp://192.168.1.20/stream1")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _authorities() -> str | None:
    """The file of certificate authorities that addresses with TLS are checked against; None if there is none."""
    found = ssl.get_default_verify_paths().cafile  # SSL_CERT_FILE, if that is set
    if found:
        return found
    with suppress(ImportError):
        import certifi

        return certifi.where()
    return None
