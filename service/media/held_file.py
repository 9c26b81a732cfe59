"""An upload as the one file that a process can have open while FFmpeg reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Any, Self

import av
from av.container import InputContainer

from service.media.containers import Container, container_of
from service.media.descriptors import READING, SHARED, read_at
from service.media.limits import limit_open_files
from service.media.video_errors import VideoError

# A named pipe would wait for a writer, and a terminal could become this process's.
_FLAGS: int = READING | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_PROTOCOL = "fd"
_BUFFER_BYTES = 1 << 18


class HeldFile(AbstractContextManager["HeldFile"]):
    """An open regular file that is a container of a kind that is accepted.

    Args:
        path: of the file.

    Attributes:
        kind: of the container.

    Raises:
        VideoError: it is none, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor, size = _open_regular(path)
        self._stream: FileIO | None = None
        self.kind: Container = container_of(read_at(self._descriptor, 4096, 0), size)

    def demux(self, decoders: Iterable[str], options: Mapping[str, str] | None = None) -> InputContainer:
        """Open it for FFmpeg, once, by its container's demuxer; whatever the file names besides, that cannot open.

        Once this was called the process can have no more files open at a time than it has then. Windows knows no such
        limit: there only the demuxer itself is held to this file.

        Args:
            decoders: FFmpeg's names of those that may be used.
            options: for the streams.
        """
        allowed = {
            "protocol_whitelist": _PROTOCOL,
            "format_whitelist": self.kind.demuxer,
            "codec_whitelist": ",".join(decoders),
        }
        demuxer, options = self.kind.demuxer.split(",")[0], dict(options or {})
        if SHARED:
            self._let_no_other_be_opened()
            allowed["fd"] = str(self._descriptor)
            return av.open("fd:", format=demuxer, container_options=allowed, options=options)
        self._stream = FileIO(os.fspath(self._path))
        how: dict[str, Any] = {"container_options": allowed, "options": options, "buffer_size": _BUFFER_BYTES}
        return av.open(self._stream, "r", format=demuxer, **how)

    def missing_bytes(self) -> int:
        """How much longer the file says it is than it is."""
        return self.kind.missing_bytes(self._descriptor)

    def broken(self) -> VideoError:
        """Why a demuxer cannot open it."""
        return self.kind.broken(self._descriptor)

    def close(self) -> None:
        """Let go of it; what `demux` gave has to be closed before."""
        if self._stream is not None:
            self._stream.close()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _let_no_other_be_opened(self) -> None:
        spare = os.open(os.devnull, os.O_RDONLY)  # the lowest free number: the demuxer's copy takes its place
        os.close(spare)
        limit_open_files(spare + 1)


def _open_regular(path: Path) -> tuple[int, int]:
    try:
        descriptor = os.open(path, _FLAGS)
        status = os.fstat(descriptor)
    except OSError as error:
        raise VideoError("not-video", f"it cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("not-video", "it is not a file")
    if status.st_size == 0:
        raise VideoError("empty", "the file is empty")
    return descriptor, status.st_size
