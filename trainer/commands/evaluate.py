"""`yaop train evaluate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from shared.inference.engine import EngineChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.bundle import Bundle
    from shared.skeleton import Skeleton
    from trainer.evaluation import Evaluation

_RESOLUTIONS = [256, 384, 512]


class _Source(NamedTuple):
    """Where the poses come from; exactly one of the four is given."""

    bundle: Path | None
    url: str | None
    results: Path | None
    openpose: Path | None

    @property
    def title(self) -> str:
        return str(next(value for value in self if value is not None))


class _Data(NamedTuple):
    annotations: Path
    images: Path
    limit: int | None


class _How(NamedTuple):
    resolutions: list[int]
    engine: EngineChoice
    flip: bool
    scales: list[int]


def evaluate(
    annotations: Annotated[Path, typer.Option(help="COCO keypoint JSON.")],
    images: Annotated[Path, typer.Option(help="Folder of its pictures.")],
    bundle: Annotated[Path | None, typer.Argument(help="Folder of a model bundle.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask a running service, as in http://127.0.0.1:8000.")] = None,
    results: Annotated[Path | None, typer.Option(help="Evaluate a file in COCO's results format.")] = None,
    openpose: Annotated[
        Path | None, typer.Option(help="Evaluate a folder of OpenPose's files, STEM_keypoints.json, COCO model.")
    ] = None,
    resolution: Annotated[
        list[int] | None, typer.Option(help="Long side of the network input; may be repeated. Default: 256, 384, 512.")
    ] = None,
    engine: Annotated[EngineChoice, typer.Option(help="What runs the network.")] = EngineChoice.AUTO,
    flip: Annotated[bool, typer.Option("--flip", help="Test-time flip.")] = False,
    scales: Annotated[
        str | None, typer.Option(help="Average the fields of these long sides, as in 256,384,512.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures, those with the lowest ids.")] = None,
    skeleton: Annotated[
        str, typer.Option(help="For --url and --results: a built-in skeleton or a .json file.")
    ] = "body_18",
    record: Annotated[
        str | None, typer.Option(help="Write the results into the bundle, under this name of the data.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with curves, keypoints and the worst pictures here.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Measure COCO keypoint AP: of a bundle through the code that serves, of a running service, or of result files."""
    source = _Source(bundle, url, results, openpose)
    how = _How(sorted(set(resolution or _RESOLUTIONS)), engine, flip, _sides(scales))
    _check(source, how, resolution, record)
    data = _Data(annotations, images, limit)
    if source.bundle is not None:
        from shared.bundle import load_bundle

        model = load_bundle(source.bundle)
        evaluations = _of_bundle(model, data, how)
        if record is not None:
            from trainer.evaluation import record_accuracy

            record_accuracy(model, [evaluation.accuracy for evaluation in evaluations], record)
        own_skeleton = model.skeleton
    else:
        from shared.skeleton import load_skeleton

        own_skeleton = load_skeleton(skeleton)
        evaluations = _of_others(source, data, how, own_skeleton)
    _write(f"{source.title} on {annotations.name}", evaluations, own_skeleton, report, json_file)


def _sides(text: str | None) -> list[int]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts) or len(set(parts)) < 2:
        raise _error(f"--scales {text}: expected two or more long sides in pixels, as in 256,384,512")
    return [int(part) for part in parts]


def _check(source: _Source, how: _How, resolution: list[int] | None, record: str | None) -> None:
    if sum(value is not None for value in source) != 1:
        raise _error("give exactly one source of poses: BUNDLE, --url, --results or --openpose")
    if source.bundle is None and record is not None:
        raise _error("--record writes into a bundle, so it needs BUNDLE")
    if source.bundle is None and how.scales:
        raise _error("--scales needs BUNDLE")
    if how.scales and resolution:
        raise _error("give --resolution or --scales, not both")
    if (source.results or source.openpose) and (resolution or how.flip):
        raise _error("--resolution and --flip don't apply to poses from files")
    if any(side < 1 for side in how.resolutions):
        raise _error("--resolution is a number of pixels")


def _error(message: str) -> Exception:
    from trainer.evaluation.errors import EvaluationError

    return EvaluationError(message)


def _of_bundle(bundle: Bundle, data: _Data, how: _How) -> list[Evaluation]:
    from shared.inference.engine import load_engine
    from trainer.evaluation import MultiScaleEstimator
    from trainer.evaluation import evaluate as run_evaluation

    estimator = MultiScaleEstimator(load_engine(bundle, how.engine.value), bundle.skeleton)
    _print_head()
    return [
        _measured(
            lambda progress, side=side: run_evaluation(
                estimator, data.annotations, data.images, resolution=side, flip=how.flip, scales=how.scales,
                limit=data.limit, progress=progress, skeleton=bundle.skeleton,
            )
        )
        for side in ([max(how.scales)] if how.scales else how.resolutions)
    ]  # fmt: skip


def _of_others(source: _Source, data: _Data, how: _How, skeleton: Skeleton) -> list[Evaluation]:
    from trainer.evaluation import Evaluation, evaluate_poses
    from trainer.evaluation.files import read_coco_results, read_openpose
    from trainer.evaluation.labels import load_labels
    from trainer.evaluation.service import ServicePoses

    labels = load_labels(data.annotations, data.images, skeleton, data.limit)
    if source.url is not None:
        url = source.url
        asked = [(side, ServicePoses(url, labels, resolution=side, flip=how.flip)) for side in how.resolutions]
        _print_head()
        return [
            _measured(lambda progress, side=side, poses=poses: evaluate_poses(labels, poses, side, progress))
            for side, poses in asked
        ]
    if source.results is not None:
        found = read_coco_results(source.results, labels)
    else:
        assert source.openpose is not None
        found = read_openpose(source.openpose, labels)
    _print_head()
    return [_measured(lambda _: Evaluation(labels, found))]


def _print_head() -> None:
    typer.echo("resolution     AP   AP50   AP75   AP M   AP L     AR  images")


def _measured(run: Callable[[Callable[[int, int], None]], Evaluation]) -> Evaluation:
    """Run one evaluation under a progress bar and print its row of the table."""
    from trainer.evaluation.report import accuracy_row

    with _progress() as progress:
        evaluation = run(progress)
    resolution, *scores, images = accuracy_row(evaluation.accuracy)
    typer.echo(f"{resolution:>10} " + " ".join(f"{score:>6}" for score in scores) + f"  {images:>6}")
    return evaluation


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere: the table's rows are the plain lines."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns: list[Any] = [TextColumn("pictures"), *Progress.get_default_columns()[1:2], MofNCompleteColumn()]
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("pictures", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _write(
    title: str, evaluations: list[Evaluation], skeleton: Skeleton, report: Path | None, json_file: Path | None
) -> None:
    from trainer.evaluation.report import write_json, write_report

    if json_file is not None:
        write_json(json_file, title, evaluations)
    if report is not None:
        typer.echo(f"wrote {write_report(report, title, evaluations, skeleton)}")
