"""Where annotated frames go: pictures into a segment, people into JSON Lines, one picture into a poster."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from service.jobs.options import VideoOptions
from service.media.codecs import VideoCodec, find_codec
from service.media.draw_planes import DrawOptions, draw_on_planes, poster_jpeg
from service.media.frame import VideoFrame
from service.media.writer import VideoWriter
from service.video.annotation import Annotated
from shared.cores import usable_cores
from shared.files import atomic_write
from shared.schema import Frame, ModelRef
from shared.skeleton import Skeleton

_WAITING_PICTURES = 3


class Sink(Protocol):
    """Takes annotated frames in order."""

    def write(self, annotated: Annotated) -> None:
        """Take one frame."""
        ...

    def close(self) -> None:
        """All frames are there: make what was written durable."""
        ...

    def abort(self) -> None:
        """Free everything; what was written is of no use. Nothing after `close`."""
        ...


class PictureSink:
    """Draws and encodes on a thread of its own, so that the next frames are estimated meanwhile.

    Args:
        path: of the segment.
        options: what to draw, and the codec.
        skeleton: of the people.
        fps: of the video; only a hint for the encoder.
        sample_aspect: of the source's pixels.
        poster: where a small JPEG of the first frame with people goes (of the first frame, if nobody is in any);
            None for nowhere.
    """

    def __init__(
        self,
        path: Path,
        options: VideoOptions,
        skeleton: Skeleton,
        *,
        fps: float,
        sample_aspect: tuple[int, int] = (1, 1),
        poster: Path | None = None,
    ) -> None:
        self.poster_shows_people = False
        self._path = path
        self._codec: VideoCodec = find_codec(options.codec)
        self._draw = _draw_options(options)
        self._skeleton = skeleton
        self._fps = fps
        self._sample_aspect = sample_aspect
        self._poster = poster
        self._writer: VideoWriter | None = None
        self._error: BaseException | None = None
        self._queue: queue.Queue[Annotated | None] = queue.Queue(_WAITING_PICTURES)
        self._thread = threading.Thread(target=self._work, name="yaop-encode", daemon=True)
        self._thread.start()

    def write(self, annotated: Annotated) -> None:
        """Queue one frame; waits while several are queued. Raises what an earlier frame raised."""
        self._queue.put(annotated)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait for the last frame; the segment is complete and on the disk."""
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Stop the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (annotated := self._queue.get()) is not None:
            if self._error is not None:
                continue  # let the writer of frames come to see the error
            try:
                self._encode(annotated)
            except Exception as error:  # noqa: BLE001 - raised in the thread that writes
                self._error = error
        try:
            if self._writer is not None:
                self._writer.close()
        except Exception as error:  # noqa: BLE001 - likewise
            self._error = self._error or error

    def _encode(self, annotated: Annotated) -> None:
        frame = draw_on_planes(annotated.frame, annotated.people, self._skeleton, self._draw, annotated.ids)
        if self._writer is None:
            self._writer = VideoWriter(
                self._path,
                self._codec,
                frame.width,
                frame.height,
                sample_aspect=self._sample_aspect,
                matrix=frame.matrix,
                fps=self._fps,
                threads=max(1, usable_cores() // 4),  # the engine needs the cores more
            )
        self._writer.write(frame)
        self._save_poster(frame, populated=len(annotated.ids) > 0)

    def _save_poster(self, frame: VideoFrame, *, populated: bool) -> None:
        if self._poster is None or self.poster_shows_people or not (populated or frame.index == 0):
            return
        self.poster_shows_people = populated
        with atomic_write(self._poster) as stream:
            stream.write(poster_jpeg(frame))


class PoseSink:
    """Hands each frame's wire object on."""

    def __init__(self, take: Callable[[Frame], object], skeleton: Skeleton, model: ModelRef) -> None:
        self._take = take
        self._skeleton = skeleton
        self._model = model

    def write(self, annotated: Annotated) -> None:
        """Hand it on."""
        self._take(annotated.wire(self._skeleton, self._model))

    def close(self) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is held."""


def lines_to(stream: BinaryIO) -> Callable[[Frame], object]:
    """Writes each frame as one line of JSON."""
    return lambda frame: stream.write(frame.model_dump_json().encode() + b"\n")


def _draw_options(options: VideoOptions) -> DrawOptions:
    return DrawOptions(
        skeletons=options.draw,
        ids=options.draw and options.draw_ids and options.track,
        boxes=options.draw_boxes,
        background=options.background,
    )
