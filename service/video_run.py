"""What one run of ``yaop video`` is to do, checked before any work is done."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.flags import check_flags
from service.jobs.options import VideoOptions
from service.media.codecs import CODECS, find_codec
from service.wire import PosesFormat
from shared.errors import YaopError

STDOUT = "-"

_FLAGS = {"draw_ids": "ids", "draw_boxes": "boxes"}


@dataclass(frozen=True)
class VideoRun:
    """One video and what becomes of it.

    Attributes:
        source: the video; a file.
        out: where the annotated video goes, or None for nowhere.
        data: where the poses go: a path, ``-`` for the standard output, or None for nowhere.
        layout: of the poses.
        options: how to look, draw and encode.
    """

    source: Path
    out: Path | None
    data: str | None
    layout: PosesFormat
    options: VideoOptions


def check_run(run: VideoRun) -> VideoRun:
    """The run, if its files can be what they are to be.

    Raises:
        YaopError: the source is no file, a target cannot be written, or two of the three are the same.
    """
    if not run.source.is_file():
        raise YaopError(f"{run.source}: {'is not a file' if run.source.exists() else 'no such file'}")
    targets = [run.out] if run.out else []
    targets += [Path(run.data)] if run.data and run.data != STDOUT else []
    for target in targets:
        _require_writable(target)
    paths = [run.source.resolve(), *(target.resolve() for target in targets)]
    if len(set(paths)) < len(paths):
        raise YaopError(f"{targets[-1]}: the source, the video and the data have to be different files")
    return run


def check_options(**given: Any) -> VideoOptions:
    """The options, validated.

    Raises:
        YaopError: one is wrong; the message names its flag.
    """
    return check_flags(VideoOptions, given, _FLAGS)


def choose_codec(out: Path | None, codec: str | None, fourcc: str | None) -> str:
    """The name or four-character code of the codec that is meant.

    Args:
        out: file to be written; its suffix decides if nothing else does.
        codec: a name, or None.
        fourcc: a four-character code, or None.

    Raises:
        YaopError: there is no such codec, or what was given contradicts itself.
    """
    if codec and fourcc and find_codec(codec).name != find_codec(fourcc).name:
        raise YaopError(f"--codec {codec} and --fourcc {fourcc} are not the same; give one of them")
    asked = fourcc or codec
    if asked is None:
        return _codec_of_suffix(out) if out else next(iter(CODECS))
    chosen = find_codec(asked)
    if out is not None and out.suffix.lower() != chosen.suffix:
        raise YaopError(f"{out}: {asked} goes into a {chosen.suffix} file: name it {out.with_suffix(chosen.suffix)}")
    return asked


def forget_stdout() -> None:
    """The reader of the standard output has gone: what is still written there is lost quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _codec_of_suffix(out: Path) -> str:
    for codec in CODECS.values():
        if codec.suffix == out.suffix.lower():
            return codec.name
    suffixes = ", ".join(dict.fromkeys(codec.suffix for codec in CODECS.values()))
    raise YaopError(f"{out}: a video is written as one of {suffixes}")


def _require_writable(target: Path) -> None:
    if target.is_dir():
        raise YaopError(f"{target}: is a folder; name a file")
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise YaopError(f"{target}: {above} cannot be written to")
