"""The page of a run's report: HTML with its style, charts and pictures inside, and not a line of script."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from trainer import charts
from trainer.charts import Axis, Series
from trainer.history import Event, History, is_number, points
from trainer.progress import describe_duration
from trainer.report_accuracy import SCORES, accuracy_section, at_resolution, card, dicts, evaluations

_LOSSES = (("loss", "loss"), ("heatmap", "heatmap loss"), ("paf", "PAF loss"))

_STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --text: #1c2126; --quiet: #5b6670; --line: #e4e8ec; --line-strong: #aab4bd;
  --blue: #0072b2; --orange: #d55e00; --green: #007f5f; --purple: #aa4499; --accent: var(--blue);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1d2226; --text: #e8ecef; --quiet: #a3afb9; --line: #2d343a; --line-strong: #5c6873;
    --blue: #56b4e9; --orange: #f0a030; --green: #2fc79c; --purple: #e08fd0;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; }
h2 { margin: 2.2rem 0 .8rem; font-size: 1.15rem; }
h3 { margin: 0 0 .5rem; font-size: .95rem; }
.subtitle, .note { color: var(--quiet); margin: .3rem 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin-top: 1.4rem; }
.tile .value { font-size: 1.55rem; font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile .name { color: var(--quiet); font-size: .85rem; }
.stack { display: grid; gap: .9rem; align-content: start; grid-template-columns: minmax(0, 1fr); }
.charts > * { min-width: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; font-size: .85rem; }
tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.best { font-weight: 700; }
th.bar { text-align: left; } td.bar { width: 40%; min-width: 140px; }
td.bar i { display: block; height: .7rem; border-radius: 3px; background: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.4rem; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--quiet); }
pre { overflow-x: auto; font-size: .8rem; margin: .6rem 0 0; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
figure { margin: 0 0 .9rem; } figure img { width: 100%; height: auto; display: block; border-radius: 6px; }
figcaption { color: var(--quiet); font-size: .85rem; margin-top: .4rem; }
"""


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run.

    Attributes:
        name: of its folder.
        recipe: as `trainer.recipe.Recipe.to_json` gives it, or empty.
        history: losses and accuracy.
        facts: more, by name, in words.
        evaluation: content of ``evaluation.json``, or None.
        pictures: PNG files by name.
    """

    name: str
    recipe: dict[str, Any]
    history: History
    facts: dict[str, str] = field(default_factory=dict)
    evaluation: Any = None
    pictures: dict[str, bytes] = field(default_factory=dict)


def render(run: RunRecord) -> str:
    """The whole page as HTML."""
    network = run.recipe.get("network")
    title = f"{run.name}: training report"
    sections = [
        f"<header><h1>{escape(run.name)}</h1><p class='subtitle'>{escape(_subtitle(run, network))}</p></header>",
        _tiles(run),
        *accuracy_section(run.evaluation),
        *_curves_section(run),
        *_pictures_section(run),
        *_facts_section(run),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        # The browser itself sees to it that nothing is loaded from elsewhere.
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">'
        f"<title>{escape(title)}</title><style>{_STYLE}{charts.STYLE}</style>"
    )
    body = "\n".join(sections)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def _subtitle(run: RunRecord, network: Any) -> str:
    done, planned = _steps_done(run), _steps_planned(run)
    parts = [f"{network} on {run.recipe.get('skeleton')}"] if network else []
    if planned and done < planned:
        parts.append(f"not finished: {done:,} of {planned:,} steps")
    else:
        parts.append(f"{done:,} steps")
    return ", ".join(parts)


def _steps_done(run: RunRecord) -> int:
    return max((event["step"] for event in (*run.history.steps, *run.history.accuracy)), default=0)


def _steps_planned(run: RunRecord) -> int:
    return sum(int(phase.get("steps", 0)) for phase in dicts(run.recipe.get("phases")))


def _tiles(run: RunRecord) -> str:
    tiles = [
        f"<div class='card tile'><div class='value'>{escape(value)}</div><div class='name'>{escape(name)}</div></div>"
        for value, name in _key_figures(run)
    ]
    return f"<div class='tiles'>{''.join(tiles)}</div>" if tiles else ""


def _key_figures(run: RunRecord) -> Iterator[tuple[str, str]]:
    rows = evaluations(run.evaluation)
    if rows:
        best = max(rows, key=lambda row: row["ap"])
        yield f"{best['ap']:.3f}", f"AP{at_resolution(best)}"
        if is_number(best.get("ap50")):
            yield f"{best['ap50']:.3f}", f"AP50{at_resolution(best)}"
    elif accuracy := points(run.history.accuracy, "ap"):
        step, value = max(accuracy, key=lambda point: point[1])
        yield f"{value:.3f}", f"best AP, at step {step:,}"
    if loss := points(run.history.steps, "loss"):
        yield f"{loss[-1][1]:.4g}", "last loss"
    if speed := sorted(value for _, value in points(run.history.steps, "images_per_second")):
        yield f"{speed[len(speed) // 2]:,.3g}", "images a second"
    if duration := _duration(run):
        yield duration, "training"


def _duration(run: RunRecord) -> str:
    """As the facts say, else the sum of the steps' own times (evaluations and breaks left out)."""
    if "duration" in run.facts:
        return run.facts["duration"]
    batch = run.recipe.get("pipeline", {}).get("batch")
    speeds = points(run.history.steps, "images_per_second")
    if not is_number(batch) or not speeds:
        return ""
    starts = [0, *(step for step, _ in speeds)]
    seconds = sum((step - start) * batch / speed for start, (step, speed) in zip(starts, speeds, strict=False) if speed)
    return describe_duration(seconds)


def _curves_section(run: RunRecord) -> Iterator[str]:
    steps, marks = run.history.steps, _phase_marks(run.history.steps)
    x = Axis("step", lowest=0.0, highest=float(_steps_done(run)))
    cards = [_accuracy_chart(run.history.accuracy, x, marks)]
    for key, name in _LOSSES:
        line = Series("median around each step, single values behind it", points(steps, key), smooth=True)
        cards.append(
            card(name.capitalize() if key != "paf" else name, charts.line_chart(name, [line], x, Axis(name), marks))
        )
    for key, title, axis in (
        ("learning_rate", "Learning rate", Axis("learning rate", lowest=0.0, show=_scientific)),
        ("images_per_second", "Speed", Axis("images a second", lowest=0.0)),
    ):
        cards.append(card(title, charts.line_chart(title, [Series(axis.label, points(steps, key))], x, axis, marks)))
    if any(cards):
        yield "<h2>Curves</h2>"
        yield f"<div class='charts'>{''.join(cards)}</div>"


def _accuracy_chart(events: Sequence[Event], x: Axis, marks: Sequence[tuple[float, str]]) -> str:
    lines = [Series(name, points(events, key)) for key, name in SCORES[:3]]
    axis = Axis("AP", lowest=0.0, show=lambda value: f"{value:.3g}")
    return card("Accuracy while training", charts.line_chart("accuracy while training", lines, x, axis, marks))


def _scientific(value: float) -> str:
    """A small number with as few signs as it needs: ``2.5e-4``."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value else "0"


def _phase_marks(events: Sequence[Event]) -> list[tuple[float, str]]:
    """Where each phase begins, if there are several."""
    marks: list[tuple[float, str]] = []
    names: list[str] = []
    before = 0
    for event in events:
        name = str(event.get("phase", ""))
        if name and name not in names:
            names.append(name)
            marks.append((before, f"phase {name}" if name.isdigit() else name))
        before = event["step"]
    return marks if len(marks) > 1 else []


def _pictures_section(run: RunRecord) -> Iterator[str]:
    if run.pictures:
        yield "<h2>Samples</h2>"
    for name, content in run.pictures.items():
        source = base64.b64encode(content).decode()
        words = escape(name.replace("_", " "))
        yield (
            f"<figure class='card'><img alt='{words}' src='data:image/png;base64,{source}'>"
            f"<figcaption>{words}</figcaption></figure>"
        )


def _facts_section(run: RunRecord) -> Iterator[str]:
    facts = dict(_facts(run))
    yield "<h2>What was done</h2><div class='card'>"
    yield "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in facts.items()) + "</dl>"
    if run.recipe:
        recipe = escape(json.dumps(run.recipe, indent=2))
        yield f"<details><summary>the whole recipe</summary><pre>{recipe}</pre></details>"
    if run.history.damaged:
        yield f"<p class='note'>{run.history.damaged} damaged line(s) of the history were left out.</p>"
    yield "</div>"


def _facts(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Names and values, the values as HTML: the facts that were given go before the recipe's own words."""
    facts = {name.replace("_", " "): escape(value) for name, value in run.facts.items()}
    if "command" in facts:
        yield "command", f"<code>{facts.pop('command')}</code>"
    described = dict(_recipe_facts(run.recipe))
    yield from ((name, facts.pop(name, escape(value))) for name, value in described.items())
    facts["duration"] = escape(_duration(run))
    yield from ((name, value) for name, value in facts.items() if value)


def _recipe_facts(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("network", "skeleton", "initial"):
        if recipe.get(name):
            yield name, str(recipe[name])
    if sources := dicts(recipe.get("sources")):
        yield "data", ", ".join(f"{source.get('name')} (weight {source.get('weight', 1):g})" for source in sources)
    if isinstance(recipe.get("evaluation"), dict):
        yield "evaluated on", str(recipe["evaluation"].get("annotations"))
    if phases := dicts(recipe.get("phases")):
        words = [f"{phase.get('steps', 0):,} steps at {phase.get('learning_rate', 0):g}" for phase in phases]
        yield "phases", ", then ".join(words)
    if isinstance(pipeline := recipe.get("pipeline"), dict):
        side = pipeline.get("side")
        yield "batch", f"{pipeline.get('batch')} pictures of {side} x {side} pixels"
    yield from ((name, str(recipe[name])) for name in ("precision", "seed") if name in recipe)
