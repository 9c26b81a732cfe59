"""One large file over HTTP: resumed where it stopped, tried again when the connection breaks, checked before use."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.errors import YaopError
from trainer.data.meter import Advance, Meter

PARTIAL = ".part"

_CHUNK = 1 << 20
_TEMPORARY_STATUS = (408, 425, 429)
_TIMEOUT = httpx.Timeout(20, read=30)


class DownloadError(YaopError):
    """Data that cannot be fetched, is not what was published, or has no room; the message says which."""


class StoppedError(Exception):
    """Work was given up because something else failed or the user asked."""


class _BrokenError(Exception):
    """An attempt that failed in a way that may pass."""


@dataclass(frozen=True)
class RemoteFile:
    """A file whose size in bytes and MD5 (hexadecimal) are known beforehand."""

    url: str
    bytes: int
    md5: str

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Patience:
    """How often to try again, and how long to wait before.

    Attributes:
        attempts: failures in a row, none of which brought a byte, before giving up.
        first_delay, longest_delay: seconds; the delay doubles with each failure.
    """

    attempts: int = 7
    first_delay: float = 1.0
    longest_delay: float = 60.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, 1 or more."""
        return min(self.first_delay * 2 ** (failures - 1), self.longest_delay)


def open_client() -> httpx.Client:
    """A client that follows redirects, obeys the proxy settings of the environment and gives up a silent server."""
    return httpx.Client(follow_redirects=True, timeout=_TIMEOUT)


@dataclass(frozen=True)
class Fetcher:
    """What all files of a download share.

    Attributes:
        client: connections.
        meter: is told of progress.
        stop: ends everything soon once it is set.
        patience: with broken connections.
    """

    client: httpx.Client
    meter: Meter
    stop: threading.Event
    patience: Patience = Patience()

    def fetch(self, remote: RemoteFile, target: Path) -> None:
        """Have the file at `target`, whole and with the right checksum.

        Until then it is ``target.part``, from which the next call goes on. One that is there already is checked in
        place of being fetched.

        Raises:
            DownloadError: the server doesn't have it, isn't reached, or sends something else; or the disk is full.
            StoppedError: `stop` was set.
        """
        part = partial(target)
        try:
            if target.exists():
                target.replace(part)
            found = self._complete(remote, part)
            if found != remote.md5:
                part.unlink()
                self.meter.note(f"{remote.name}: MD5 is {found}, not {remote.md5}; deleted, fetching it again")
                found = self._complete(remote, part)
            if found != remote.md5:
                part.unlink()
                raise DownloadError(f"{remote.url}: came twice with a wrong MD5, now {found} and not {remote.md5}")
            part.replace(target)
        except OSError as error:
            raise disk_error(part, error) from error

    def _complete(self, remote: RemoteFile, part: Path) -> str:
        """Fetch what is missing; gives the MD5 of the whole."""
        if size_of(part) > remote.bytes:
            part.unlink()
        if size_of(part) < remote.bytes:
            advance = self.meter.start(f"download {remote.name}", remote.bytes, size_of(part))
            self._fill(remote, part, advance)
        return self._md5(part, self.meter.start(f"check {remote.name}", remote.bytes))

    def _fill(self, remote: RemoteFile, part: Path, advance: Advance) -> None:
        failures = 0
        while (have := size_of(part)) < remote.bytes:
            try:
                self._receive(remote, part, have, advance)
            except (_BrokenError, httpx.TransportError) as error:
                failures = 1 if size_of(part) > have else failures + 1
                reason = str(error) or type(error).__name__
                if failures >= self.patience.attempts:
                    raise DownloadError(f"{remote.url}: {reason}; gave up after {failures} attempts") from error
                delay = self.patience.delay(failures)
                self.meter.note(f"{remote.name}: {reason}; trying again in {delay:g} s")
                if self.stop.wait(delay):
                    raise StoppedError from error
            except (httpx.RequestError, httpx.InvalidURL) as error:
                raise DownloadError(f"{remote.url}: {error}") from error

    def _receive(self, remote: RemoteFile, part: Path, have: int, advance: Advance) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with self.client.stream("GET", remote.url, headers=headers) as response:
            at = _first_byte(response, remote, have)
            with part.open("ab") as file:
                for chunk in response.iter_raw():
                    self._go_on()
                    # A server that ignores Range begins at the beginning: what is there already is passed over.
                    new = chunk[max(have - at, 0) :]
                    at += len(chunk)
                    if at > remote.bytes:
                        raise DownloadError(f"{remote.url}: the server sends more than {remote.bytes} bytes")
                    file.write(new)
                    advance(len(new))
        if at < remote.bytes:
            raise _BrokenError(f"the connection ended after {at} of {remote.bytes} bytes")

    def _md5(self, path: Path, advance: Advance) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._go_on()
                digest.update(chunk)
                advance(len(chunk))
        return digest.hexdigest()

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise StoppedError


def partial(target: Path) -> Path:
    """Where a file or folder is until it is whole."""
    return target.with_name(target.name + PARTIAL)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def disk_error(path: Path, error: OSError) -> DownloadError:
    """What to tell of a file that cannot be written."""
    return DownloadError(f"{path}: {error.strerror or error}; run the same command again to go on from there")


def _first_byte(response: httpx.Response, remote: RemoteFile, have: int) -> int:
    """Position in the file of the first byte of a response, after checking that it is part of the right file."""
    if response.status_code >= 500 or response.status_code in _TEMPORARY_STATUS:
        raise _BrokenError(f"HTTP {response.status_code} {response.reason_phrase}")
    if response.status_code not in (200, 206):
        raise DownloadError(
            f"{remote.url}: HTTP {response.status_code} {response.reason_phrase}; is the address right (--url)?"
        )
    start, total = (_content_range if response.status_code == 206 else _content_length)(response)
    if start > have:
        raise DownloadError(f"{remote.url}: asked for bytes from {have}, the server sends them from {start}")
    if total not in (None, remote.bytes):
        raise DownloadError(f"{remote.url}: the server has a file of {total} bytes, not of {remote.bytes}")
    return start


_Extent = tuple[int, int | None]


def _content_range(response: httpx.Response) -> _Extent:
    """First byte and size of the whole (None: not told) of a partial response."""
    unit, _, extent = response.headers.get("Content-Range", "").partition(" ")
    positions, _, total = extent.partition("/")
    start = positions.partition("-")[0]
    if unit != "bytes" or not start.isdigit():
        raise DownloadError(f"{response.url}: the server sends a part of the file without saying which")
    return int(start), int(total) if total.isdigit() else None


def _content_length(response: httpx.Response) -> _Extent:
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None
