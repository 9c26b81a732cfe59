"""Files on their way to the service and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import httpx

from service.client.backoff import Backoff
from service.client.connection import Away, Connection
from service.client.errors import not_understood
from shared.errors import YaopError

BytesDone = Callable[[int, int], None]
"""Told of the bytes that are done, and of how many there are (0: not known)."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read.

    Raises:
        YaopError: there is none that can be.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise YaopError(f"{path}: {error.strerror or error}") from error
    with closing(file):
        yield file


class MeasuredFile:
    """A file that tells how much of it has been read, for httpx to send.

    Args:
        file: open for reading, at its beginning.
        progress: told after each read.
    """

    def __init__(self, file: BinaryIO, progress: BytesDone | None) -> None:
        self._file = file
        self._progress = progress
        self._total = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        if self._progress:
            self._progress(self._file.tell(), self._total)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def fileno(self) -> int:
        """Its descriptor, for its size."""
        return self._file.fileno()


class Download:
    """A file that is fetched, and goes on where it was when the connection breaks.

    Args:
        connection: to the service.
        path: of the file there.
        params: of the query.
        stream: where it goes; empty, and can be sought.
        progress: told as it arrives.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        stream: BinaryIO,
        params: dict[str, str] | None = None,
        progress: BytesDone | None = None,
    ) -> None:
        self._connection = connection
        self._path = path
        self._stream = stream
        self._params = params or {}
        self._progress = progress
        self._tag: str | None = None

    def run(self, backoff: Backoff) -> None:
        """Fetch all of it.

        Raises:
            ClientError: it cannot be had.
        """
        while True:
            try:
                self._fetch(backoff)
            except Away as away:
                backoff.wait_for(away)
            else:
                return

    def _fetch(self, backoff: Backoff) -> None:
        done = self._stream.tell()
        headers = {"Accept-Encoding": "identity"}
        if done and self._tag:
            headers |= {"Range": f"bytes={done}-", "If-Range": self._tag}
        with self._connection.stream("GET", self._path, params=self._params, headers=headers) as response:
            self._begin(response, done)
            total = self._stream.tell() + int(response.headers.get("content-length", 0))
            for chunk in response.iter_bytes():
                backoff.reset()
                self._stream.write(chunk)
                if self._progress:
                    self._progress(self._stream.tell(), total)

    def _begin(self, response: httpx.Response, done: int) -> None:
        resumed = response.headers.get("content-range", "").startswith(f"bytes {done}-")
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and not resumed:
            raise not_understood(response)
        if not resumed:  # the first time, or what is there now is another file
            self._stream.seek(0)
            self._stream.truncate()
        tag = response.headers.get("etag", "")
        exact = tag.startswith('"') and "content-encoding" not in response.headers
        self._tag = tag if exact else None
