"""Where the people of pictures go: JSON of three layouts, a table, overlays."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from pydantic_core import to_json

from shared.assembly import People
from shared.drawing import draw_people
from shared.errors import YaopError
from shared.files import atomic_write
from shared.images import RgbImage, encode_image
from shared.schema import ModelRef, frame_from_people, to_coco, to_openpose
from shared.skeleton import Skeleton

Layout = Literal["native", "openpose", "coco", "csv"]

_COLUMNS = ("file", "width", "height", "person", "person_score", "keypoint", "x", "y", "score")


@dataclass(frozen=True)
class Result:
    """The people of one picture.

    Attributes:
        path: of the picture.
        index: of the picture among those looked at.
        image: RGB uint8 ``[H, W, 3]``.
        people: in its pixels.
        skeleton: of the model.
        model: what found them.
        timing_ms: milliseconds by phase.
    """

    path: Path
    index: int
    image: RgbImage
    people: People
    skeleton: Skeleton
    model: ModelRef
    timing_ms: dict[str, float]

    @property
    def frame(self) -> dict[str, Any]:
        """The native wire object."""
        height, width = self.image.shape[:2]
        frame = frame_from_people(
            self.people, self.skeleton, width, height, self.model, self.timing_ms, index=self.index
        )
        return frame.model_dump()


class Output(Protocol):
    """Takes results one by one."""

    def write(self, result: Result) -> None:
        """Take one picture's people."""
        ...

    def finish(self) -> None:
        """All pictures are done."""
        ...


class FrameOutput:
    """One frame as JSON."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, result: Result) -> None:
        """Write the frame."""
        self._stream.write(to_json(result.frame) + b"\n")

    def finish(self) -> None:
        """Nothing is left to do."""


class LinesOutput:
    """JSON Lines: a frame per picture, each with the ``file`` it is of."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, result: Result) -> None:
        """Write one line, at once, so that a reader of a pipe can follow."""
        self._stream.write(to_json({"file": printable(result.path), **result.frame}) + b"\n")
        self._stream.flush()

    def finish(self) -> None:
        """Nothing is left to do."""


class CocoOutput:
    """One list of COCO results.

    The ``image_id`` is the number that a file is named by if all are (as COCO's own), else its index.
    """

    def __init__(self, stream: BinaryIO, paths: Sequence[Path]) -> None:
        self._stream = stream
        numbers = [int(path.stem) for path in paths if path.stem.isdecimal()]
        named_by_number = len(paths) > 1 and len(set(numbers)) == len(paths)
        self._ids = dict(zip(paths, numbers, strict=True)) if named_by_number else {}
        self._results: list[dict[str, Any]] = []

    def write(self, result: Result) -> None:
        """Keep them until the list is complete."""
        self._results += to_coco(result.people, self._ids.get(result.path, result.index), result.skeleton)

    def finish(self) -> None:
        """Write the list."""
        self._stream.write(to_json(self._results) + b"\n")


class OpenPoseOutput:
    """One OpenPose frame."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, result: Result) -> None:
        """Write it."""
        self._stream.write(to_json(to_openpose(result.people, result.skeleton)) + b"\n")

    def finish(self) -> None:
        """Nothing is left to do."""


class OpenPoseFolderOutput:
    """A folder with a ``NAME_keypoints.json`` for each picture, as OpenPose writes it."""

    def __init__(self, folder: Path) -> None:
        self._names = FileNames(folder, "_keypoints")

    def write(self, result: Result) -> None:
        """Write the picture's file."""
        with atomic_write(self._names.pick(result.path, ".json")) as stream:
            OpenPoseOutput(stream).write(result)

    def finish(self) -> None:
        """Nothing is left to do."""


class CsvOutput:
    """A table with a row for each keypoint that was seen."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._write_rows([_COLUMNS])

    def write(self, result: Result) -> None:
        """Write the rows of one picture."""
        frame = result.frame
        self._write_rows(
            (printable(result.path), frame["width"], frame["height"], number, person["score"], name, *point.values())
            for number, person in enumerate(frame["people"])
            for name, point in person["keypoints"].items()
            if point is not None
        )

    def finish(self) -> None:
        """Nothing is left to do."""

    def _write_rows(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._stream.write(text.getvalue().encode())


class OverlayOutput:
    """The pictures with their skeletons: one file, or a folder of ``NAME_poses.jpg``."""

    def __init__(self, target: Path, folder: bool) -> None:
        self._target = target
        self._names = FileNames(target, "_poses") if folder else None

    def write(self, result: Result) -> None:
        """Draw one picture. A PNG is written for a target (or, in a folder, a source) that is one."""
        suffix = ".png" if result.path.suffix.lower() == ".png" else ".jpg"
        target = self._names.pick(result.path, suffix) if self._names else self._target
        drawn = draw_people(result.image, result.people, result.skeleton)
        with atomic_write(target) as stream:
            stream.write(encode_image(drawn, "png" if target.suffix.lower() == ".png" else "jpeg"))

    def finish(self) -> None:
        """Nothing is left to do."""


class FileNames:
    """Names in a folder, one for each picture, even where pictures of several folders share a name."""

    def __init__(self, folder: Path, ending: str) -> None:
        if folder.exists() and not folder.is_dir():
            raise YaopError(f"{folder}: is a file; several pictures need a folder")
        self._folder = folder
        self._ending = ending
        self._taken: set[str] = set()

    def pick(self, picture: Path, suffix: str) -> Path:
        """A name that no earlier picture got."""
        count, stem = 1, picture.stem
        while (name := f"{stem}{self._ending}{suffix}") in self._taken:
            count += 1
            stem = f"{picture.stem}-{count}"
        self._taken.add(name)
        return self._folder / name


def printable(path: Path) -> str:
    """A path as valid Unicode, whatever bytes its name is made of."""
    return str(path).encode("utf-8", "replace").decode()


@contextmanager
def open_data_output(target: str, layout: Layout, paths: Sequence[Path], many: bool) -> Iterator[Output]:
    """Where the data goes: ``-`` is the standard output, anything else a file (a folder for OpenPose's many).

    Raises:
        YaopError: several OpenPose frames cannot go to one stream, or the target cannot be written.
    """
    if layout == "openpose" and many:
        if target == "-":
            raise YaopError("--format openpose writes one file for each picture: name a folder with --json")
        yield OpenPoseFolderOutput(Path(target))
        return
    with _open_stream(target) as stream:
        output = _stream_output(stream, layout, paths, many)
        yield output
        output.finish()


@contextmanager
def _open_stream(target: str) -> Iterator[BinaryIO]:
    if target == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if Path(target).is_dir():
        raise YaopError(f"{target}: is a folder; --json needs a file here")
    with atomic_write(Path(target)) as stream:
        yield stream


def _stream_output(stream: BinaryIO, layout: Layout, paths: Sequence[Path], many: bool) -> Output:
    if layout == "coco":
        return CocoOutput(stream, paths)
    if layout == "csv":
        return CsvOutput(stream)
    if layout == "openpose":
        return OpenPoseOutput(stream)
    return LinesOutput(stream) if many else FrameOutput(stream)


def overlay_output(target: Path, many: bool) -> OverlayOutput:
    """Where overlays go: a folder for several pictures, a folder or a file for one.

    Raises:
        YaopError: the target is not what it has to be.
    """
    folder = many or target.is_dir() or not target.suffix
    if not folder and target.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise YaopError(f"{target}: overlays are written as .jpg or .png")
    return OverlayOutput(target, folder)
