"""``yaop stream``: the people before a camera, as they move."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.parsing import RESOLUTION_VALUES
from shared.errors import YaopError
from shared.inference.engine import EngineChoice
from shared.inference.estimator import DEFAULT_MAX_PEOPLE, DEFAULT_MIN_SCORE

if TYPE_CHECKING:
    from service.live.display import LiveDisplay
    from service.live.recorder import Recorder
    from service.live.seen import Looker
    from service.live.source import Source
    from service.live.stopping import Stop
    from service.streams.messages import Hello

_DEFAULT_CAMERA = "0"
_DEFAULT_MODEL = "mobilenet_fpn"
_DEFAULT_CREDITS = 2
_PATIENCE_SECONDS = 300.0
_SIGNAL_BASE = 128


def stream(
    camera: Annotated[
        str | None, typer.Option(help="Number of a camera, or a device, e.g. /dev/video2. Default: 0.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            help="Play this video at its own speed; or, with --allow-network, the camera at this address: "
            "rtsp://, rtsps://, http:// or https://."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Let this service look, e.g. http://127.0.0.1:8000 or ws://127.0.0.1:8000/stream."),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(
            help="Write the results as JSON Lines: a file, which is replaced, or - for the standard output. "
            "Default: the standard output, unless it is a terminal."
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    resolution: Annotated[
        str, typer.Option(help=f"Long side of the network's input: {RESOLUTION_VALUES}.")
    ] = "balanced",
    track: Annotated[bool, typer.Option(help="Give people ids that stay theirs.")] = True,
    smooth: Annotated[bool, typer.Option(help="Smooth keypoints over time; needs --track.")] = True,
    min_score: Annotated[float, typer.Option(help="Leave out people below it.")] = DEFAULT_MIN_SCORE,
    max_people: Annotated[int, typer.Option(help="Most people in a picture.")] = DEFAULT_MAX_PEOPLE,
    model: Annotated[
        str | None,
        typer.Option(help="Name of the model. Default: the first of YAOP_MODEL, or that of the service."),
    ] = None,
    credits_: Annotated[
        int,
        typer.Option(
            "--credits",
            help="Most pictures on their way, with --url. More help on slow networks; one is used where the network is "
            "so fast that a second would only wait.",
        ),
    ] = _DEFAULT_CREDITS,
    key: Annotated[str | None, typer.Option(envvar="YAOP_KEY", help="Key of that service.")] = None,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", envvar="YAOP_ALLOW_NETWORK", help="Let --file be an address.")
    ] = False,
    engine: Annotated[
        EngineChoice, typer.Option(envvar="YAOP_ENGINE", help="What runs it, without --url.")
    ] = EngineChoice.AUTO,
    models_dir: Annotated[
        Path | None, typer.Option(envvar="YAOP_MODELS_DIR", help="Folder of more bundles, without --url.")
    ] = None,
) -> None:
    """Find the people in live pictures: of a camera, a video at its own speed, or a camera on the network.

    The newest picture is always next; those that come meanwhile are dropped. Results are frames as `yaop video` writes
    them; their index is the picture's number in the source, so gaps show what was dropped. Speed, latency and people
    are shown on the standard error: on a terminal all the time, elsewhere every ten seconds, and summed up at the end.

    Without --url the engine runs here. With it, pictures go to a service, and when that restarts, so does the stream;
    people get new ids then. It ends with the video (exit code 0), after --seconds (0), or by Ctrl-C (130).
    """
    from service.flags import check_flags
    from service.live.recorder import STDOUT, Recorder
    from service.live.stopping import Stop
    from service.process import tune_process
    from service.streams.messages import Hello
    from service.video_run import forget_stdout

    given = {"resolution": resolution, "min_score": min_score, "max_people": max_people, "track": track}
    hello = check_flags(Hello, given | {"smooth": smooth, "model": model, "credits": credits_})
    _check(camera, file, json, seconds)
    target = STDOUT if json is None and not sys.stdout.isatty() else json
    tune_process()
    stop = Stop(seconds)
    display = _display(target)
    recorder = Recorder(target)
    source = _open_source(camera, file, display, allow_network=allow_network)
    try:
        with _looker(url, key, hello, stop, display, models_dir, engine, source.size) as looker:
            _watch(source, looker, recorder, display, stop)
    except BrokenPipeError:  # the reader of the standard output has seen enough
        forget_stdout()
    finally:
        source.stop()
    if stop.signal is not None:
        raise typer.Exit(_SIGNAL_BASE + stop.signal)


def _check(camera: str | None, file: str | None, json: str | None, seconds: float | None) -> None:
    if camera is not None and file is not None:
        raise YaopError("--camera and --file are two sources; give one of them")
    if seconds is not None and not 0 < seconds < float("inf"):
        raise YaopError(f"--seconds {seconds:g}: must be a number above 0")
    if file is not None and json is not None and Path(json).resolve() == Path(file).resolve():
        raise YaopError(f"{json}: the video and the results have to be different files")


def _display(target: str | None) -> LiveDisplay:
    from service.live.display import choose_display
    from service.live.recorder import STDOUT

    return choose_display(lines_on_terminal=target == STDOUT and sys.stdout.isatty())


def _open_source(camera: str | None, file: str | None, display: LiveDisplay, *, allow_network: bool) -> Source:
    if file is None:
        from service.live.camera import Camera

        return Camera(_DEFAULT_CAMERA if camera is None else camera)
    if "://" not in file:
        from service.live.clip import Clip

        return Clip(Path(file))
    from service.live.network import NetworkCamera

    source = NetworkCamera(file, display.note)
    if not allow_network:
        raise YaopError("addresses are opened only with --allow-network, or YAOP_ALLOW_NETWORK=1")
    return source


@contextmanager
def _looker(
    url: str | None,
    key: str | None,
    hello: Hello,
    stop: Stop,
    display: LiveDisplay,
    models_dir: Path | None,
    engine: EngineChoice,
    size: tuple[int, int] | None,
) -> Iterator[Looker]:
    if url is not None:
        with _looker_there(url, key, hello, stop, display) as looker:
            yield looker
        return
    from service.live.local import LocalLooker
    from service.local.run import open_model

    names = hello.model or os.environ.get("YAOP_MODEL") or _DEFAULT_MODEL
    with open_model(names.split(",")[0].strip(), models_dir, engine.value) as (bundle, loaded):
        looker = LocalLooker(bundle, loaded, hello.options())
        looker.warm_up(size)
        yield looker


@contextmanager
def _looker_there(url: str, key: str | None, hello: Hello, stop: Stop, display: LiveDisplay) -> Iterator[Looker]:
    from service.client import Client
    from service.client.backoff import Backoff, Patience
    from service.live.remote import RemoteLooker

    options = hello.model_dump(exclude={"type", "key", "encoding", "draw"})
    backoff = Backoff(Patience(_PATIENCE_SECONDS, display.note, sleep=stop.wait))
    with Client(url, key, notify=display.note) as client:
        looker = RemoteLooker(lambda: client.stream(**options), backoff, stop, display.note)
        looker.open()
        yield looker


def _watch(source: Source, looker: Looker, recorder: Recorder, display: LiveDisplay, stop: Stop) -> None:
    from service.live.run import watch

    with stop.on_signals(), recorder:
        watch(source, looker, recorder, display, stop)
