"""``yaop video``: a video with its poses drawn in, made here or by a service."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from service.media.codecs import CODECS
from service.parsing import RESOLUTION_VALUES
from shared.inference.engine import EngineChoice
from shared.inference.estimator import DEFAULT_MAX_PEOPLE, DEFAULT_MIN_SCORE

if TYPE_CHECKING:
    from service.video_run import VideoRun

_DEFAULT_MODEL = "mobilenet_fpn"
_CODECS_HELP = "Codec of the result: " + ", ".join(f"{codec.name} ({codec.suffix})" for codec in CODECS.values())


class FormatChoice(StrEnum):
    """How the data may be laid out."""

    NATIVE = "native"
    CSV = "csv"
    OPENPOSE = "openpose"
    COCO = "coco"


class BackgroundChoice(StrEnum):
    """What skeletons are drawn on."""

    VIDEO = "video"
    BLACK = "black"


def video(
    source: Annotated[Path, typer.Argument(help="The video: MP4, MOV, AVI, MKV or WebM.")],
    out: Annotated[Path | None, typer.Argument(help="Write the annotated video: .mp4, .webm or .avi.")] = None,
    json: Annotated[str | None, typer.Option(help="Write the data: a file, or - for the standard output.")] = None,
    layout: Annotated[
        FormatChoice,
        typer.Option("--format", help="Layout of the data: JSON Lines (native), csv, coco; openpose: a .zip."),
    ] = FormatChoice.NATIVE,
    codec: Annotated[str | None, typer.Option(help=f"{_CODECS_HELP}. Default: by OUT's suffix.")] = None,
    fourcc: Annotated[
        str | None, typer.Option(help="The codec by its four characters, e.g. XVID, MP4V, MJPG, AVC1, VP90.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second of the result; default: the source's.")] = None,
    resolution: Annotated[
        str, typer.Option(help=f"Long side of the network's input: {RESOLUTION_VALUES}.")
    ] = "balanced",
    every: Annotated[int, typer.Option(help="Look at each n-th frame only, and interpolate between.")] = 1,
    track: Annotated[bool, typer.Option(help="Give people ids that stay theirs.")] = True,
    smooth: Annotated[bool, typer.Option(help="Smooth keypoints over time.")] = True,
    min_score: Annotated[float, typer.Option(help="Leave out people below it.")] = DEFAULT_MIN_SCORE,
    max_people: Annotated[int, typer.Option(help="Most people in a frame.")] = DEFAULT_MAX_PEOPLE,
    draw: Annotated[bool, typer.Option(help="Draw the skeletons.")] = True,
    ids: Annotated[bool, typer.Option(help="Write each person's id.")] = True,
    boxes: Annotated[bool, typer.Option("--boxes", help="Draw each person's box.")] = False,
    background: Annotated[BackgroundChoice, typer.Option(help="What is drawn on.")] = BackgroundChoice.VIDEO,
    model: Annotated[
        str | None,
        typer.Option(help="Name of the model. Default: the first of YAOP_MODEL, or that of the service."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Let this service do it, e.g. http://127.0.0.1:8000.")] = None,
    key: Annotated[str | None, typer.Option(envvar="YAOP_KEY", help="Key of that service.")] = None,
    engine: Annotated[
        EngineChoice, typer.Option(envvar="YAOP_ENGINE", help="What runs it, without --url.")
    ] = EngineChoice.AUTO,
    models_dir: Annotated[
        Path | None, typer.Option(envvar="YAOP_MODELS_DIR", help="Folder of more bundles, without --url.")
    ] = None,
) -> None:
    """Find the people in a video: draw them into OUT, and write their poses.

    Without OUT and --json the data goes to the standard output. With --url the video is sent to a service, whose job
    goes on when this command dies; Ctrl-C cancels it.
    """
    from service.video_run import STDOUT, VideoRun, check_options, check_run, choose_codec, forget_stdout

    options = check_options(
        resolution=resolution,
        min_score=min_score,
        max_people=max_people,
        model=model,
        track=track,
        smooth=smooth,
        every=every,
        codec=choose_codec(out, codec, fourcc),
        fps=fps,
        draw=draw,
        draw_ids=ids,
        draw_boxes=boxes,
        background=background.value,
    )
    data = STDOUT if out is None and json is None else json
    run = check_run(VideoRun(source, out, data, layout.value, options))
    try:
        if url is None:
            _run_here(run, models_dir, engine)
        else:
            _run_there(run, url, key)
    except BrokenPipeError:  # the reader of the standard output has seen enough
        forget_stdout()
        raise typer.Exit(0) from None


def _run_here(run: VideoRun, models_dir: Path | None, engine: EngineChoice) -> None:
    from service.local.run import open_model
    from service.local.video import annotate_here
    from service.progress import show_progress

    names = run.options.model or os.environ.get("YAOP_MODEL") or _DEFAULT_MODEL
    with (
        _clean_end_when_terminated(),
        open_model(names.split(",")[0].strip(), models_dir, engine.value) as (bundle, loaded),
        show_progress() as display,
    ):
        annotate_here(run, bundle, loaded, display)


def _run_there(run: VideoRun, url: str, key: str | None) -> None:
    from service.client import Client
    from service.client.annotate import annotate_there
    from service.progress import show_progress

    with show_progress() as display, Client(url, key, notify=display.note) as client:
        annotate_there(run, client, display)


@contextmanager
def _clean_end_when_terminated() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that files begun in it are removed."""

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
