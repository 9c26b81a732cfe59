"""Line charts as inline SVG: axes with ticks, a legend, and values under the pointer, without any script.

Colours are classes (``series-0`` and so on) that the page's style sheet defines, so that a chart follows the
page into the dark. `STYLE` holds them: Okabe and Ito's colours, which colour-blind readers can tell apart; each
series has its own dashes as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import median

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 560, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 26, 22, 42
_MOST_POINTS = 400  # drawn of one line
_MOST_HOVERS = 120  # places under the pointer that have a title
_FEW = 40  # points that get a dot each
_TICKS = 5

STYLE = """
.chart { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
.chart text { fill: var(--quiet); }
.chart .axis { stroke: var(--line-strong); }
.chart .rule { stroke: var(--line); }
.chart .mark { stroke: var(--line-strong); stroke-dasharray: 2 4; }
.chart path { fill: none; stroke: var(--color); stroke-width: 2; stroke-linejoin: round; }
.chart path.faint { stroke-width: 1; opacity: .35; }
.chart circle { fill: var(--color); }
.chart .hover rect { fill: transparent; }
.chart .hover line { stroke: var(--text); opacity: 0; }
.chart .hover:hover line { opacity: .5; }
.series-0 { --color: var(--blue); } .series-1 { --color: var(--orange); }
.series-2 { --color: var(--green); } .series-3 { --color: var(--purple); }
.series-1 path { stroke-dasharray: 7 3; } .series-2 path { stroke-dasharray: 2 3; }
.series-3 path { stroke-dasharray: 8 3 2 3; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; color: var(--quiet); }
.legend svg { width: 26px; height: 10px; margin-right: .4rem; vertical-align: middle; }
.legend path { fill: none; stroke: var(--color); stroke-width: 2.5; }
"""


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: for the legend.
        points: x and y, x rising.
        smooth: draw the points faintly and their running median over them.
    """

    name: str
    points: Points
    smooth: bool = False


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Attributes:
        label: quantity and unit.
        lowest, highest: ends; None where the data decide.
        show: a value in words.
    """

    label: str
    lowest: float | None = None
    highest: float | None = None
    show: Callable[[float], str] = lambda value: f"{value:,.6g}"


@dataclass(frozen=True)
class _Frame:
    """Where data lie in the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        right = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = min(max((y - self.y[0]) / (self.y[1] - self.y[0]), 0.0), 1.0)
        return _LEFT + right * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)


def line_chart(title: str, series: Sequence[Series], x: Axis, y: Axis, marks: Sequence[tuple[float, str]] = ()) -> str:
    """A chart as SVG with its legend, as HTML; nothing if no series has points.

    Args:
        title: read to those who cannot see the chart.
        series: up to four lines.
        x: the axis below.
        y: the axis at the left. Without a given top, rare peaks (such as a first loss) are cut off.
        marks: places on the x axis with a word each.
    """
    series = [line for line in series if line.points]
    if not series:
        return ""
    frame = _frame(series, x, y)
    parts = [
        *_rules(frame, x, y),
        *(_mark(frame, place, word) for place, word in marks),
        *(f'<g class="series-{number}">{_line(frame, line)}</g>' for number, line in enumerate(series)),
        *_hovers(frame, series, x, y),
    ]
    drawing = "\n".join(parts)
    svg = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">\n{drawing}\n</svg>'
    )
    return svg + _legend(series)


def running_median(values: Points) -> list[tuple[float, float]]:
    """The points with each y replaced by the median of those around it, a twentieth of all to either side at most.

    Near the first point, where losses fall steeply, the neighbourhood is nearly symmetric, or it would look too far
    ahead.
    """
    reach = max(1, len(values) // 20)
    smooth: list[tuple[float, float]] = []
    for i, (x, _) in enumerate(values):
        before = min(reach, i)
        around = values[i - before : i + min(reach, before + 2) + 1]
        smooth.append((x, median(y for _, y in around)))
    return smooth


def ticks(lowest: float, highest: float, count: int = _TICKS) -> list[float]:
    """About so many round numbers from `lowest` to `highest`, 1, 2, 2.5 or 5 times a power of ten apart."""
    rough = (highest - lowest) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(lowest / step - 1e-9), math.floor(highest / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _frame(series: Sequence[Series], x: Axis, y: Axis) -> _Frame:
    places = sorted(px for line in series for px, _ in line.points)
    values = sorted(py for line in series for _, py in line.points)
    return _Frame(_span(x, places[0], places[-1], 0.0), _span(y, values[0], _usual_top(values), 0.05))


def _usual_top(values: Sequence[float]) -> float:
    """The greatest value, or less where the topmost hundredth would squeeze all others into the lower half."""
    usual = values[int(0.99 * (len(values) - 1))]
    greatest, lowest = values[-1], values[0]
    return greatest if greatest - lowest < 2 * (usual - lowest) or usual == lowest else usual + 0.25 * (usual - lowest)


def _span(axis: Axis, lowest: float, highest: float, margin: float) -> tuple[float, float]:
    """Ends of an axis: those that it was given, and the data's with a margin for others."""
    bottom = axis.lowest if axis.lowest is not None else lowest
    top = axis.highest if axis.highest is not None else highest
    if top <= bottom:
        top = bottom + (abs(bottom) * 0.1 or 1.0)
    extra = margin * (top - bottom)
    return bottom - (extra if axis.lowest is None else 0.0), top + (extra if axis.highest is None else 0.0)


def _rules(frame: _Frame, x: Axis, y: Axis) -> list[str]:
    left, bottom = frame.at(frame.x[0], frame.y[0])
    right, top = frame.at(frame.x[1], frame.y[1])
    parts: list[str] = []
    for value in ticks(*frame.y):
        _, py = frame.at(frame.x[0], value)
        parts.append(f'<line class="rule" x1="{left}" x2="{right}" y1="{py:.1f}" y2="{py:.1f}"/>')
        parts.append(f'<text x="{left - 7}" y="{py + 4:.1f}" text-anchor="end">{escape(y.show(value))}</text>')
    for value in ticks(*frame.x):
        px, _ = frame.at(value, frame.y[0])
        parts.append(f'<line class="axis" x1="{px:.1f}" x2="{px:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{px:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(x.show(value))}</text>')
    middle = (top + bottom) / 2
    return [
        *parts,
        f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>',
        f'<text x="{(left + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>',
        f'<text x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">{escape(y.label)}</text>',
    ]


def _mark(frame: _Frame, place: float, word: str) -> str:
    px, top = frame.at(place, frame.y[1])
    line = f'<line class="mark" x1="{px:.1f}" x2="{px:.1f}" y1="{top}" y2="{HEIGHT - _BOTTOM}"/>'
    return line + f'<text x="{px + 1:.1f}" y="{top - 6}">{escape(word)}</text>'


def _line(frame: _Frame, line: Series) -> str:
    shown = list(line.points)
    parts: list[str] = []
    if line.smooth and len(shown) > _TICKS:
        parts.append(_path(frame, shown, "faint"))
        shown = running_median(shown)
    parts.append(_path(frame, shown, ""))
    if len(line.points) <= _FEW:
        places = [frame.at(*point) for point in shown]
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.2"/>' for px, py in places]
    return "".join(parts)


def _path(frame: _Frame, values: Points, name: str) -> str:
    places = [frame.at(*point) for point in _thinned(values, _MOST_POINTS)]
    return f'<path class="{name}" d="M{" L".join(f"{px:.1f} {py:.1f}" for px, py in places)}"/>'


def _thinned(values: Points, most: int) -> Points:
    """At most so many of the points, evenly, the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _hovers(frame: _Frame, series: Sequence[Series], x: Axis, y: Axis) -> list[str]:
    """A strip around each place, which names the values there and draws a line while the pointer is on it."""
    longest = max(series, key=lambda line: len(line.points)).points
    places = [place for place, _ in _thinned(longest, _MOST_HOVERS)]
    values = [(line.name, dict(line.points)) for line in series]
    centers = [frame.at(place, 0.0)[0] for place in places]
    bounds = [float(_LEFT), *((a + b) / 2 for a, b in pairwise(centers)), float(WIDTH - _RIGHT)]
    parts: list[str] = []
    for place, center, left, right in zip(places, centers, bounds[:-1], bounds[1:], strict=True):
        words = [f"{name}: {y.show(known[place])}" for name, known in values if place in known]
        title = escape("\n".join([f"{x.label} {x.show(place)}", *words]))
        parts.append(
            f'<g class="hover"><title>{title}</title>'
            f'<rect x="{left:.1f}" y="{_TOP}" width="{max(right - left, 0.1):.1f}" height="{HEIGHT - _TOP - _BOTTOM}"/>'
            f'<line x1="{center:.1f}" x2="{center:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/></g>'
        )
    return parts


def _legend(series: Sequence[Series]) -> str:
    entries = [
        f'<span class="series-{number}"><svg viewBox="0 0 26 10" aria-hidden="true"><path d="M0 5H26"/></svg>'
        f"{escape(line.name)}</span>"
        for number, line in enumerate(series)
    ]
    return f'<div class="legend">{"".join(entries)}</div>'
