"""Curves, pictures and notes of a run for TensorBoard, written without TensorFlow, so that every backend can.

Only a folder in a bucket (``gs://``) goes through TensorFlow's file system.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from shared.images import RgbImage, encode_image
from trainer import storage

_PREFIX = "events.out.tfevents."
_FLUSH_LOCAL = 5.0  # seconds; a bucket's object is sent anew at every flush
_FLUSH_REMOTE = 120.0


class TensorBoardLog:
    """One event file of a run. A run that goes on after a break appends another, and no step shows twice.

    Args:
        folder: local or ``gs://``, made if it is not there.
        steps_done: how many steps the checkpoint that the run goes on from has seen. What an earlier process wrote
            for later steps (after that checkpoint, before it was killed) disappears from TensorBoard; 0, a fresh
            start, makes all of it disappear.
        clock: seconds since 1970, as `time.time`.

    Raises:
        StorageError: the folder cannot be written to; so do all methods, for instance when the disk is full.
    """

    def __init__(self, folder: str, *, steps_done: int = 0, clock: Callable[[], float] = time.time) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        storage.make_folder(folder)
        self.path = storage.join(folder, _file_name(folder, clock()))
        self._clock = clock
        self._closed = False
        self._flush_every = _FLUSH_REMOTE if storage.is_remote(folder) else _FLUSH_LOCAL
        with self._telling_where():
            self._records: Any = RecordWriter(_open(self.path))
        self._write(file_version="brain.Event:2")
        self._purge(steps_done + 1 if steps_done else 0)
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve; a slash in a name groups, as in ``loss/heatmap``."""
        summary = _message("Summary")
        points = [summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()]
        self._write(step=step, summary=summary(value=points))

    def pictures(self, step: int, pictures: Mapping[str, RgbImage]) -> None:
        """Pictures by name, RGB uint8 ``[H, W, 3]`` (see `trainer.pictures`)."""
        summary = _message("Summary")
        for name, picture in pictures.items():
            height, width = picture.shape[:2]
            # JPEG, because the checksum of every record is computed in Python, a microsecond a byte.
            image = summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=encode_image(picture, "jpeg")
            )
            self._write(step=step, summary=summary(value=[summary.Value(tag=name, image=image)]))

    def text(self, step: int, name: str, markdown: str) -> None:
        """A note in Markdown, such as the recipe of the run."""
        from tensorboard.plugins.text.summary import text_pb

        self._write(step=step, summary=text_pb(name, markdown))

    def flush(self) -> None:
        """Bring to disk all that was said so far; it happens by itself every few seconds (minutes, in a bucket)."""
        with self._telling_where():
            self._records.flush()
        self._next_flush = self._clock() + self._flush_every

    def close(self) -> None:
        """Flush and close the file; nothing happens if it is closed."""
        if not self._closed:
            self._closed = True
            with self._telling_where():
                self._records.flush()
                self._records.close()

    def _purge(self, step: int) -> None:
        """Have readers forget what files before this one say about this step and later ones."""
        session = _message("SessionLog")
        self._write(step=step, session_log=session(status=session.START))

    def _write(self, **content: Any) -> None:
        with self._telling_where():
            self._records.write(_message("Event")(wall_time=self._clock(), **content).SerializeToString())
        if "summary" in content and self._clock() >= self._next_flush:
            self.flush()

    @contextmanager
    def _telling_where(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage.StorageError(f"{self.path}: {error.strerror or error}") from error
        except Exception as error:
            if not storage.is_remote(self.path):
                raise
            raise storage.StorageError(f"{self.path}: {str(error)[:300]}") from error


def _message(name: str) -> Any:
    """A class of TensorBoard's protocol (generated code, which the type checker cannot see into)."""
    from tensorboard.compat.proto import event_pb2, summary_pb2

    return vars(summary_pb2 if name == "Summary" else event_pb2)[name]


def _open(path: str) -> Any:
    if not storage.is_remote(path):
        return open(path, "wb")  # noqa: PTH123 - closed by the log
    storage.exists(path)  # says in one line what is missing for buckets
    import tensorflow as tf

    return tf.io.gfile.GFile(path, "wb")


def _file_name(folder: str, now: float) -> str:
    """A name that sorts behind all that are there: that is the order in which TensorBoard reads them."""
    stamps = [name.removeprefix(_PREFIX)[:10] for name in storage.list_folder(folder) if name.startswith(_PREFIX)]
    latest = max((int(stamp) for stamp in stamps if stamp.isdigit()), default=0)
    return f"{_PREFIX}{max(int(now), latest + 1):010d}.{socket.gethostname()}.{os.getpid()}"
