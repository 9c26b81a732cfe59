"""The notebook, run from its first cell to its last on a small network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "trainer" / "notebooks" / "train.ipynb"
SMALL = (
    'network_options={"width":16}',
    "initial=null",
    "pipeline.side=64",
    "pipeline.batch=4",
    "phases.0.steps=6",
    "evaluation.resolution=64",
    "evaluation.limit=2",
    "evaluation.every=0",
    "log_every=1",
)


def _cells(notebook: Any) -> dict[str, Any]:
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = _cells(nbformat.read(NOTEBOOK, as_version=4))
    assert all(not cell.outputs and cell.execution_count is None for cell in cells.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAOP_NOTEBOOK_SET", " ".join(SMALL))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = _cells(notebook)
    for name in ("data", "targets", "batch-loss", "fit", "skeletons"):
        kinds = {kind for output in cells[name].outputs for kind in output.get("data", {})}
        assert "image/png" in kinds, f"cell {name} shows no picture"
    assert "'images': 2" in cells["accuracy"].outputs[-1].data["text/plain"]
    assert (tmp_path / "runs" / "smoke" / "final.weights.h5").is_file()
