"""What a run's report says about its evaluation: tables and curves as HTML, as far as ``evaluation.json`` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from trainer import charts
from trainer.charts import Axis, Series
from trainer.history import is_number

SCORES = (
    ("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75"), ("ap_medium", "AP M"), ("ap_large", "AP L"), ("ar", "AR"),
)  # fmt: skip


def evaluations(content: Any) -> list[dict[str, Any]]:
    """Rows of the accuracy table out of an ``evaluation.json``, whichever of its lists they are in."""
    if isinstance(content, dict):
        content = content.get("evaluations", content.get("rows", [content]))
    rows = content if isinstance(content, list) else []
    return [row for row in rows if isinstance(row, dict) and is_number(row.get("ap"))]


def accuracy_section(content: Any) -> Iterator[str]:
    """Headings, the table of all resolutions, and details of the best one; nothing without an evaluation."""
    rows = evaluations(content)
    if not rows:
        return
    yield "<h2>Accuracy</h2>"
    what = str(content.get("title") or content.get("dataset") or "") if isinstance(content, dict) else ""
    note = f"<p class='note'>{escape(what)}</p>" if what else ""
    yield f"<div class='card'><div class='scroll'>{_accuracy_table(rows)}</div>{note}</div>"
    best = max(rows, key=lambda row: row["ap"])
    left, right = _precision_card(best) + _sizes_card(best), _keypoints_card(rows, best)
    if left or right:
        columns = "".join(f"<div class='stack'>{column}</div>" for column in (left, right) if column)
        yield f"<h2>In detail{escape(at_resolution(best))}</h2><div class='charts'>{columns}</div>"


def _accuracy_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [(key, name) for key, name in SCORES if any(key in row for row in rows)]
    tops = {key: max((row[key] for row in rows if is_number(row.get(key))), default=0.0) for key, _ in names}
    head = ["Long side", *(name for _, name in names), "Images"]
    body = [
        [
            _cell(f"{row['resolution']} px" if row.get("resolution") else "as found"),
            *(_cell(_score(row.get(key)), best=len(rows) > 1 and row.get(key) == tops[key]) for key, _ in names),
            _cell(f"{row['images']:,}" if is_number(row.get("images")) else "-"),
        ]
        for row in rows
    ]
    return _table(head, body)


def _score(value: Any) -> str:
    """A score of 0 to 1; COCO's -1 says that there is nobody to count."""
    return f"{value:.3f}" if is_number(value) and value >= 0 else "-"


def _cell(text: str, *, best: bool = False) -> str:
    return f"<td{' class=best' if best else ''}>{escape(text)}</td>"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th scope='col'>{escape(text)}</th>" for text in head)
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in body)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"


def _sizes_card(row: Mapping[str, Any]) -> str:
    sizes = {name: size for name, size in _items(row.get("sizes")) if isinstance(size, dict)}
    if not sizes:
        return ""
    body = [
        [_cell(name), _cell(f"{size.get('people', 0):,}"), _cell(_score(size.get("ap"))), _cell(_score(size.get("ar")))]
        for name, size in sizes.items()
    ]
    return card("By size of person", _table(["Size", "People", "AP", "AR"], body))


def _keypoints_card(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> str:
    """AP of each keypoint, a bar for each in the best row and numbers for all."""
    columns = [row for row in rows if _keypoint_scores(row)]
    if not columns:
        return ""
    scores = _keypoint_scores(best) or _keypoint_scores(columns[-1])
    body = [
        [
            _cell(name.replace("_", " ")),
            f"<td class='bar'><i style='width:{max(0.0, min(1.0, value)):.1%}'></i></td>",
            *(_cell(_score(_keypoint_scores(row).get(name))) for row in columns),
        ]
        for name, value in scores.items()
    ]
    sides = [f"{row['resolution']} px" if row.get("resolution") else "AP" for row in columns]
    return card(
        "AP by keypoint", f"<div class='scroll'>{_table(['Keypoint', f'AP{at_resolution(best)}', *sides], body)}</div>"
    )


def _keypoint_scores(row: Mapping[str, Any]) -> dict[str, float]:
    found = {name: score.get("ap") if isinstance(score, dict) else score
             for name, score in _items(row.get("keypoints", row.get("per_keypoint")))}  # fmt: skip
    return {name: float(score) for name, score in found.items() if is_number(score)}


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), entry) for name, entry in value.items()] if isinstance(value, dict) else []


def _precision_card(row: Mapping[str, Any]) -> str:
    lines: list[Series] = []
    for curve in dicts(row.get("curves"))[:4]:
        pairs = zip(curve.get("recall", ()), curve.get("precision", ()), strict=False)
        known = [(float(recall), float(value)) for recall, value in pairs if is_number(recall) and is_number(value)]
        lines.append(Series(f"OKS {curve.get('oks', '')}".strip(), [point for point in known if point[1] >= 0]))
    x, y = (Axis(name, 0.0, 1.0, lambda value: f"{value:.2f}") for name in ("recall", "precision"))
    chart = charts.line_chart("precision over recall", lines, x, y)
    return card("Precision and recall", chart)


def at_resolution(row: Mapping[str, Any]) -> str:
    """Words to put behind a score: at which long side it was measured, if that is known."""
    return f" at {row['resolution']} px" if row.get("resolution") else ""


def dicts(values: Any) -> list[dict[str, Any]]:
    """The objects of a JSON list; nothing if it is none."""
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def card(title: str, content: str) -> str:
    """A box of the page with a heading; nothing without content (HTML)."""
    return f"<section class='card'><h3>{escape(title)}</h3>{content}</section>" if content else ""
