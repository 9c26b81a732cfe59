"""The text that tells a bundle's user what it is, how well it does and where it comes from."""

from __future__ import annotations

from shared.bundle import AccuracyRow, Manifest, Training, skeleton_of

_HEAD = "| model | data | images | long side | AP | AP50 | AP75 | AP M | AP L | AR |\n" + "|---" * 10 + "|"


def model_card(manifest: Manifest) -> str:
    """Markdown from a bundle's manifest."""
    sides = sorted({max(shape) for shape in manifest.shapes})
    facts = {
        "Version": manifest.version,
        "Created": manifest.created,
        "Architecture": manifest.architecture,
        "Skeleton": f"{manifest.skeleton} ({', '.join(skeleton_of(manifest).keypoints)})",
        "Stride of the fields": f"{manifest.stride} px",
        "Input": f"RGB, {len(manifest.shapes)} shapes with long sides {', '.join(map(str, sides))} px",
        "Peaks kept per keypoint type": str(manifest.max_peaks),
        "Thresholds": ", ".join(f"{name} {value:g}" for name, value in sorted(manifest.thresholds.items())) or "none",
        "Licence": manifest.licence,
    }
    lines = [f"# {manifest.name}", "", "Finds people in pictures and the keypoints of each.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "## Accuracy", "", *_accuracy(manifest)]
    if manifest.training:
        lines += ["", "## Training", "", *_training(manifest.training)]
    lines += ["", "## Limits", "", *_LIMITS]
    lines += ["", "## Files", "", *_files(manifest)]
    return "\n".join(lines) + "\n"


def _accuracy(manifest: Manifest) -> list[str]:
    if not manifest.accuracy:
        return ["Not measured."]
    rows = [_accuracy_row(row, row.system or manifest.name) for row in manifest.accuracy]
    lines = ["COCO's keypoint evaluation, one scale, no flip; AP M and AP L are those of medium and large people.", ""]
    return [*lines, _HEAD, *rows]


def _accuracy_row(row: AccuracyRow, model: str) -> str:
    scores = (row.ap, row.ap50, row.ap75, row.ap_medium, row.ap_large, row.ar)
    facts = [f"| {model}", row.dataset, str(row.images), str(row.resolution)]
    return " | ".join([*facts, *(f"{score:.3f}" for score in scores)]) + " |"


def _training(training: Training) -> list[str]:
    return [
        *(f"- Data: {source}" for source in training.data),
        f"- Began with: {training.initial}",
        f"- Steps: {training.steps}",
        "",
        "The recipe is in `recipe.json`. To train it again:",
        "",
        f"    {training.command}",
    ]


_LIMITS = [
    "- Small people are found less often than large ones (compare AP M and AP L); a larger long side finds more.",
    "- It does not know who somebody is, and its scores are no probabilities.",
    "- Not made for decisions about people's safety, health or rights.",
]

_WEIGHTS = {
    "float16": "weights stored as float16, computed in float32",
    "float32": "weights stored as float32",
    "int8": "the network in int8, the decoder in float32",
}


def _files(manifest: Manifest) -> list[str]:
    weights = _WEIGHTS[manifest.litert_weights]
    return [
        "- `saved_model/`: TensorFlow, signatures `fields`, `pose` and `decode`, any batch, sides multiples of 32.",
        f"- `model.tflite`: LiteRT, the same for one picture of each listed shape (`pose_{{H}}x{{W}}` ...); {weights}.",
        "- `manifest.json`: the facts above for programs, and the SHA-256 of every file.",
    ]
