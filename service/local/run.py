"""The loop of ``yaop pose``: every picture through the estimator, its people to every output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from service.local.inputs import Inputs
from service.local.outputs import Layout, Output, Result, open_data_output, overlay_output, printable
from shared.bundle import Bundle, find_bundle, load_bundle, shipped_models_dir
from shared.errors import YaopError
from shared.images import read_image
from shared.inference.engine import Engine, EngineName, load_engine
from shared.inference.estimator import PoseEstimator, PoseOptions
from shared.schema import ModelRef, require_body_18

Advance = Callable[[], None]


@contextmanager
def open_model(name: str, models_dir: Path | None, engine_name: EngineName) -> Iterator[tuple[Bundle, Engine]]:
    """A bundle with its engine, closed at the end of the block.

    Raises:
        YaopError: there is no such model, it is damaged, or it cannot be run.
    """
    folders = [folder for folder in (models_dir, shipped_models_dir()) if folder is not None]
    bundle = load_bundle(find_bundle(name, folders))
    engine = load_engine(bundle, engine_name)
    try:
        yield bundle, engine
    finally:
        engine.close()


def run(
    inputs: Inputs,
    bundle: Bundle,
    engine: Engine,
    options: PoseOptions,
    data: str | None,
    layout: Layout,
    out: Path | None,
) -> int:
    """Look at all pictures; one that cannot be read is reported on one line and passed over.

    Args:
        inputs: the pictures.
        bundle: the model.
        engine: what runs it.
        options: how to look.
        data: where the data goes: ``-``, a path, or None for nowhere.
        layout: of the data.
        out: where overlays go, or None for nowhere.

    Returns:
        How many pictures failed.
    """
    failures = 0
    if data is not None and layout in ("openpose", "coco"):
        require_body_18(bundle.skeleton)
    estimator = PoseEstimator(engine, bundle.skeleton)
    with ExitStack() as stack:
        outputs: list[Output] = []
        if out is not None:
            outputs.append(overlay_output(out, inputs.many))
        if data is not None:
            outputs.append(stack.enter_context(open_data_output(data, layout, inputs.paths, inputs.many)))
        advance = stack.enter_context(_progress(len(inputs.paths), inputs.many))
        for index, path in enumerate(inputs.paths):
            try:
                result = _look(path, index, bundle, estimator, options)
            except YaopError as error:
                failures += 1
                _report(str(error))
            else:
                _write(result, outputs)
            advance()
    return failures


def _look(path: Path, index: int, bundle: Bundle, estimator: PoseEstimator, options: PoseOptions) -> Result:
    start = time.perf_counter()
    image = read_image(path)
    decoded = time.perf_counter()
    try:
        people = estimator.estimate(image, options)
    except YaopError as error:
        raise YaopError(f"{path}: {error}") from error
    done = time.perf_counter()
    timing = {"decode": decoded - start, "estimate": done - decoded, "total": done - start}
    model = ModelRef(name=bundle.manifest.name, version=bundle.manifest.version)
    milliseconds = {phase: seconds * 1000 for phase, seconds in timing.items()}
    return Result(path, index, image, people, bundle.skeleton, model, milliseconds)


def _write(result: Result, outputs: Sequence[Output]) -> None:
    for output in outputs:
        output.write(result)


def _report(message: str) -> None:
    line = " ".join(message.split())
    sys.stderr.write(f"error: {printable(Path(line))}\n")
    sys.stderr.flush()


@contextmanager
def _progress(total: int, many: bool) -> Iterator[Advance]:
    """A bar on a terminal; nothing for one picture or where nobody watches."""
    with _bar(total) if many and sys.stderr.isatty() else nullcontext(_nothing) as advance:
        yield advance


def _nothing() -> None:
    """Advance no bar."""


def _bar(total: int) -> AbstractContextManager[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def shown() -> Iterator[Advance]:
        columns = (TextColumn("Pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("pictures", total=total)
            yield lambda: progress.advance(task)

    return shown()
