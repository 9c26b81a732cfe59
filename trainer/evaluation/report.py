"""An evaluation as a folder to look at: numbers, curves, the keypoints' table, a gallery of the worst pictures."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.files import atomic_write
from shared.images import RgbImage, encode_image
from shared.skeleton import Skeleton, from_names
from trainer.evaluation.labels import Keypoints
from trainer.evaluation.measure import read_picture
from trainer.evaluation.scoring import Accuracy, Evaluation, PictureScore

_COLUMNS = ("AP", "AP50", "AP75", "AP M", "AP L", "AR")
_LONG_SIDE = 480  # of a picture in the gallery, in pixels
_CURVE_NAMES = {"0.50": "OKS 0.50", "0.75": "OKS 0.75", "0.50:0.95": "mean of OKS 0.50 to 0.95"}
_GALLERY = (
    "labels on the left; on the right who was found with a score of {threshold:.3f} or more, which is where F1 at OKS "
    "0.5 is best. A picture's score is the sum of its matches' OKS over the people labelled or found in error."
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1040px; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figure img, img.curve { max-width: 100%; } figcaption { color: #555; }
"""


def accuracy_row(accuracy: Accuracy) -> list[str]:
    """Resolution, six scores and the number of pictures, as in the table that the command prints."""
    scores = (accuracy.ap, accuracy.ap50, accuracy.ap75, accuracy.ap_medium, accuracy.ap_large, accuracy.ar)
    resolution = str(accuracy.resolution) if accuracy.resolution else "-"
    return [resolution, *(f"{score:.3f}" for score in scores), str(accuracy.images)]


def to_json(title: str, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Plain JSON values: what was evaluated, and each evaluation in full."""
    return {"title": title, "evaluations": [evaluation.to_json() for evaluation in evaluations]}


def write_json(path: Path, title: str, evaluations: Sequence[Evaluation]) -> None:
    """Write `to_json` to a file.

    Raises:
        YaopError: it cannot be written.
    """
    _write(path, json.dumps(to_json(title, evaluations), indent=2) + "\n")


def write_report(
    folder: Path, title: str, evaluations: Sequence[Evaluation], skeleton: Skeleton, worst: int = 20
) -> Path:
    """Write ``evaluation.json``, ``keypoints.csv``, ``pr.svg``, ``pr.png``, ``pictures/`` and ``index.html``.

    Args:
        folder: made if it is not there; files in it with these names are replaced.
        title: what was evaluated, on what.
        evaluations: one or more of the same data; the curves and the gallery are those of the best one.
        skeleton: to draw people with.
        worst: so many of the worst pictures.

    Returns:
        path of the page.

    Raises:
        YaopError: a file cannot be written, or a picture cannot be read.
    """
    best = max(evaluations, key=lambda evaluation: evaluation.accuracy.ap)
    write_json(folder / "evaluation.json", title, evaluations)
    _write(folder / "keypoints.csv", _keypoints_csv(evaluations))
    for kind in ("svg", "png"):
        with atomic_write(folder / f"pr.{kind}") as file:
            file.write(_draw_curves(best, kind))
    figures: list[str] = []
    for number, score in enumerate(best.pictures[:worst], start=1):
        name = f"pictures/{number:02d}_{Path(score.name).stem}.jpg"
        with atomic_write(folder / name) as file:
            file.write(encode_image(_side_by_side(best, score, skeleton), "jpeg"))
        figures.append(_figure(name, score))
    page = folder / "index.html"
    _write(page, _page(title, evaluations, best, figures))
    return page


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def _keypoints_csv(evaluations: Sequence[Evaluation]) -> str:
    """A line for each keypoint: name, people who have it labelled, AP at each resolution."""
    columns = [f"ap_{evaluation.accuracy.resolution or 'results'}" for evaluation in evaluations]
    lines = [",".join(["keypoint", "people", *columns])]
    for name, keypoint in evaluations[0].keypoints.items():
        scores = (f"{evaluation.keypoints[name].ap:.4f}" for evaluation in evaluations)
        lines.append(",".join([name, str(keypoint.people), *scores]))
    return "\n".join(lines) + "\n"


def _draw_curves(evaluation: Evaluation, kind: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    for curve in evaluation.curves:
        label = f"{_CURVE_NAMES[curve.oks]}: AP {curve.precision.mean():.3f}"
        axes.plot(curve.recall, curve.precision, label=label)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="best")
    buffer = io.BytesIO()
    # The same curves give the same file.
    with mpl.rc_context({"svg.hashsalt": "yaop"}):
        figure.savefig(buffer, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _side_by_side(evaluation: Evaluation, score: PictureScore, skeleton: Skeleton) -> RgbImage:
    """Labels on the left, who was found on the right."""
    from trainer import pictures

    labels = evaluation.labels
    path = next(picture.path for picture in labels.pictures if picture.id == score.id)
    image, scale = _shrunk(read_picture(path))
    entries = [entry for entry in labels.annotations if entry["image_id"] == score.id and not entry["iscrowd"]]
    truth = [np.array(entry["keypoints"]).reshape(-1, 3) for entry in entries if entry["num_keypoints"]]
    found = [person.keypoints for person in evaluation.shown(score.id)]
    drawn = [
        pictures.draw_keypoints(image, _on_skeleton(people, scale, labels.names, skeleton), skeleton)
        for people in (truth, found)
    ]
    return pictures.grid([drawn], [[f"labelled: {score.labelled}", f"found: {score.found}, wrong: {score.wrong}"]])


def _shrunk(image: RgbImage) -> tuple[RgbImage, float]:
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _on_skeleton(people: Sequence[Keypoints], scale: float, names: Sequence[str], skeleton: Skeleton) -> Any:
    """Keypoints ``[N, K, 3]`` of the skeleton, in pixels of the shrunk picture."""
    from shared.geometry import resize_points

    points = np.array(people, np.float64).reshape(-1, len(names), 3)
    # Some systems give every score as 0; a keypoint is there if it has a place.
    present = points.any(axis=-1, keepdims=True)
    moved = np.concatenate([resize_points(points[..., :2], scale), np.maximum(points[..., 2:], 1e-6)], axis=-1)
    return from_names(np.where(present, moved, 0).astype(np.float32), names, skeleton)


def _figure(name: str, score: PictureScore) -> str:
    text = f"{score.name}: {score.score:.2f} ({score.labelled} labelled, {score.found} found, {score.wrong} wrong)"
    return f'<figure><img src="{html.escape(name)}" alt=""><figcaption>{html.escape(text)}</figcaption></figure>'


def _page(title: str, evaluations: Sequence[Evaluation], best: Evaluation, figures: Sequence[str]) -> str:
    rows = [accuracy_row(evaluation.accuracy) for evaluation in evaluations]
    sizes = [[name, str(size.people), f"{size.ap:.3f}", f"{size.ar:.3f}"] for name, size in best.sizes.items()]
    keypoints = [
        [name, str(keypoint.people), *(f"{evaluation.keypoints[name].ap:.3f}" for evaluation in evaluations)]
        for name, keypoint in best.keypoints.items()
    ]
    resolutions = [accuracy_row(evaluation.accuracy)[0] for evaluation in evaluations]
    of_best = f"At long side {resolutions[evaluations.index(best)]}" if len(evaluations) > 1 else "Here"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<p>COCO's keypoint evaluation; -1 where nobody of that kind is labelled.</p>",
        _table(["long side", *_COLUMNS, "pictures"], rows),
        "<h2>By size</h2>",
        _table(["size", "people", "AP", "AR"], sizes),
        "<h2>By keypoint</h2>",
        "<p>COCO's evaluation as if there were only this keypoint, ranked by the person's score.</p>",
        _table(["keypoint", "people", *(f"AP {side}" for side in resolutions)], keypoints),
        "<h2>Precision and recall</h2>",
        '<img class="curve" src="pr.svg" alt="precision over recall">',
        f"<h2>The worst {len(figures)} pictures</h2>",
        f"<p>{of_best}: {_GALLERY.format(threshold=best.threshold)}</p>",
        *figures,
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
