"""The text that tells a bundle's user what it is and how well it does."""

from __future__ import annotations

from shared.bundle import AccuracyRow, Manifest

_HEAD = "| data | images | long side | AP | AP50 | AP75 | AP M | AP L | AR |\n|---|---|---|---|---|---|---|---|---|"


def model_card(manifest: Manifest) -> str:
    """Markdown from a bundle's manifest."""
    sides = sorted({max(shape) for shape in manifest.shapes})
    facts = {
        "Version": manifest.version,
        "Created": manifest.created,
        "Architecture": manifest.architecture,
        "Skeleton": manifest.skeleton,
        "Stride of the fields": f"{manifest.stride} px",
        "Input": f"RGB, {len(manifest.shapes)} shapes with long sides {', '.join(map(str, sides))} px",
        "Peaks kept per keypoint type": str(manifest.max_peaks),
        "Thresholds": ", ".join(f"{name} {value:g}" for name, value in sorted(manifest.thresholds.items())) or "none",
        "Licence": manifest.licence,
    }
    lines = [f"# {manifest.name}", "", "Finds people in pictures and the keypoints of each.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "## Accuracy", "", *_accuracy(manifest.accuracy)]
    lines += ["", "## Files", "", *_FILES]
    return "\n".join(lines) + "\n"


def _accuracy(rows: tuple[AccuracyRow, ...]) -> list[str]:
    if not rows:
        return ["Not measured."]
    return ["COCO's keypoint evaluation.", "", _HEAD, *(_accuracy_row(row) for row in rows)]


def _accuracy_row(row: AccuracyRow) -> str:
    scores = (row.ap, row.ap50, row.ap75, row.ap_medium, row.ap_large, row.ar)
    return " | ".join([f"| {row.dataset}", str(row.images), str(row.resolution), *(f"{s:.3f}" for s in scores)]) + " |"


_FILES = [
    "- `saved_model/`: TensorFlow, signatures `fields`, `pose` and `decode`, any batch, sides multiples of 32.",
    "- `model.tflite`: LiteRT, the same for one picture of each listed shape: `pose_{H}x{W}` and so on.",
    "- `manifest.json`: the facts above for programs, and the SHA-256 of every file.",
]
