"""Results written into the bundle that they are about."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared.bundle import AccuracyRow, Bundle, write_bundle
from trainer.evaluation.scoring import Accuracy
from trainer.model_card import model_card


def record_accuracy(bundle: Bundle, results: Sequence[Accuracy], dataset: str) -> None:
    """Write results into a bundle's manifest and model card, in place of its own for the same data.

    Args:
        bundle: rewritten on disk; the model itself stays as it is.
        results: one for each resolution.
        dataset: how the data is named in the accuracy table.
    """
    kept = [row for row in bundle.manifest.accuracy if row.dataset != dataset or row.system is not None]
    rows = [AccuracyRow(dataset=dataset, **_rounded(result)) for result in results]
    manifest = bundle.manifest.model_copy(update={"accuracy": (*kept, *rows)})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / bundle.manifest.name
        shutil.copytree(bundle.path, source)
        (source / "model_card.md").write_text(model_card(manifest), "utf-8")
        write_bundle(bundle.path, manifest, source, replace=True)


def _rounded(result: Accuracy) -> dict[str, Any]:
    return {name: round(value, 4) for name, value in asdict(result).items()}
