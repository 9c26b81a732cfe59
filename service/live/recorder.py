"""Results as JSON Lines, each written through at once, so that a crash keeps what was there."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from shared.errors import YaopError
from shared.schema import Frame

STDOUT = "-"


class Recorder(AbstractContextManager["Recorder"]):
    """Writes results to a file, to the standard output, or nowhere.

    A file that is there is replaced with the first result, or at the end of a run without any: a run that fails
    before it has begun leaves it as it was.

    Args:
        target: a path, ``-`` for the standard output, or None for nowhere.

    Raises:
        YaopError: the file cannot be written.
    """

    def __init__(self, target: str | None) -> None:
        self._path = Path(target) if target not in (None, STDOUT) else None
        self._stream: BinaryIO | None = sys.stdout.buffer if target == STDOUT else None
        if self._path is not None:
            _check(self._path)

    def write(self, frame: Frame) -> None:
        """Write a result.

        Raises:
            BrokenPipeError: the reader of the standard output has gone.
            YaopError: the file cannot be written any more.
        """
        self._open()
        if self._stream is None:
            return
        try:
            self._stream.write(frame.model_dump_json().encode() + b"\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._open()
        if self._path is not None and self._stream is not None:
            with suppress(OSError):  # what could not be written was told when it was
                self._stream.close()

    def _open(self) -> None:
        if self._path is not None and self._stream is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self._path.open("wb")
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> YaopError:
        return YaopError(f"{self._path or 'the standard output'}: {error.strerror or error}")


def _check(path: Path) -> None:
    if path.is_dir():
        raise YaopError(f"{path}: is a folder; name a file")
    place = path if path.exists() else next(folder for folder in path.absolute().parents if folder.exists())
    if not os.access(place, os.W_OK) or (place != path and not place.is_dir()):
        raise YaopError(f"{path}: {'it' if place == path else place} cannot be written to")
