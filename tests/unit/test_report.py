from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainer import storage
from trainer.charts import Axis, Series, line_chart, running_median, ticks
from trainer.history import parse_history, points, read_history
from trainer.machine_name import describe_machine
from trainer.report import ReportError, keep_pictures, write_report
from trainer.storage import StorageError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RECIPE: dict[str, Any] = {
    "network": "mobilenet_fpn",
    "skeleton": "body_18",
    "initial": "movenet",
    "sources": [{"name": "coco", "weight": 1.0}, {"name": "lspet", "weight": 0.3}],
    "evaluation": {"annotations": "coco/val.json"},
    "phases": [{"steps": 60, "learning_rate": 1e-3}, {"steps": 140, "learning_rate": 3e-4}],
    "pipeline": {"batch": 16, "side": 256},
    "precision": "float32",
    "seed": 7,
}


def event(step: int, loss: float = 200.0, **more: Any) -> dict[str, Any]:
    phase = "neck" if step <= 60 else "all"
    parts = {"heatmap": 20.0, "paf": loss - 20.0, "learning_rate": 1e-3, "images_per_second": 8.0}
    return {"step": step, "phase": phase, "loss": loss, **parts, **more}


def row(resolution: int, ap: float) -> dict[str, Any]:
    return {
        "images": 220, "resolution": resolution, "ap": ap, "ap50": ap + 0.2, "ap75": ap - 0.1, "ap_medium": -1.0,
        "ap_large": ap + 0.1, "ar": ap + 0.05,
        "sizes": {"all": {"people": 620, "ap": ap, "ar": 0.4}, "medium": {"people": 0, "ap": -1.0, "ar": -1.0}},
        "keypoints": {"nose": {"people": 300, "ap": 0.437}, "left_ankle": {"people": 200, "ap": 0.219}},
        "curves": [{"oks": "0.50", "recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.8, 0.1]}],
    }  # fmt: skip


def make_run(folder: Path, events: list[dict[str, Any]] | None = None, **files: Any) -> Path:
    run = folder / "night"
    run.mkdir()
    lines = [event(step, 300.0 - step) for step in range(20, 201, 20)] if events is None else events
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, content in files.items():
        (run / f"{name}.json").write_text(json.dumps(content))
    return run


def page(run: Path, facts: dict[str, str] | None = None) -> str:
    path = write_report(str(run), facts)
    assert path == f"{run}/report.html"
    return Path(path).read_text("utf-8")


def words(html: str) -> str:
    """What a reader sees, tags and style left out."""
    text = re.sub(r"<style>.*?</style>|<title>.*?</title>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


class Balanced(HTMLParser):
    """Fails on a tag that is closed but not open, or open at the end."""

    VOID = ("meta", "img", "line", "rect", "circle", "path")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_report_says_what_was_done(tmp_path: Path) -> None:
    text = words(page(make_run(tmp_path, recipe=RECIPE), {"command": "yaop train fit <x>", "hardware": "two cores"}))
    for said in (
        "night", "mobilenet_fpn on body_18, 200 steps", "command yaop train fit &lt;x&gt;", "hardware two cores",
        "coco (weight 1), lspet (weight 0.3)", "60 steps at 0.001, then 140 steps at 0.0003",
        "batch 16 pictures of 256 x 256 pixels", "seed 7", "initial movenet", "evaluated on coco/val.json",
        "duration 6 min 40 s",
    ):  # fmt: skip
        assert said in text, said


def test_facts_given_once_are_kept_for_the_next_report(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe=RECIPE)
    page(run, {"command": "yaop train fit", "duration": "2 h 5 min"})
    text = words(page(run, {"data": "20 pictures"}))
    assert "command yaop train fit" in text and "duration 2 h 5 min" in text and "data 20 pictures" in text


def test_hardware_is_found_out(tmp_path: Path) -> None:
    assert describe_machine() in words(page(make_run(tmp_path, recipe=RECIPE))).replace("&amp;", "&")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name : Abacus 9000\nprocessor : 1\nmodel name : Abacus 9000\n")
    assert re.match(r"Abacus 9000, \d+ threads?, \d+ GiB of memory, ", describe_machine(cpuinfo))


def test_every_curve_has_a_chart_with_its_values_under_the_pointer(tmp_path: Path) -> None:
    events = [event(step, 300.0 - step) for step in range(20, 201, 20)]
    html = page(make_run(tmp_path, [*events, {"step": 200, "ap": 0.312, "ap50": 0.52}], recipe=RECIPE))
    labels = re.findall(r'role="img" aria-label="([^"]*)"', html)
    assert labels == ["accuracy while training", "loss", "heatmap loss", "PAF loss", "Learning rate", "Speed"]
    assert "step 200\nAP: 0.312\nAP50: 0.52" in html
    assert "step 40\nlearning rate: 1e-3" in html
    assert re.search(r"best AP, at step 200", html)


def test_where_phases_begin_is_marked(tmp_path: Path) -> None:
    html = page(make_run(tmp_path, recipe=RECIPE))
    assert html.count(">neck</text>") == html.count(">all</text>") == 5


def test_the_accuracy_table_has_a_row_for_each_resolution(tmp_path: Path) -> None:
    content = {"title": "night on val.json", "evaluations": [row(256, 0.31), row(384, 0.37), row(512, 0.36)]}
    html = page(make_run(tmp_path, recipe=RECIPE, evaluation=content))
    text = words(html)
    assert "Long side AP AP50 AP75 AP M AP L AR Images" in text
    assert "256 px 0.310 0.510 0.210 - 0.410 0.360 220" in text
    assert "<td class=best>0.370</td>" in html and "<td class=best>0.310</td>" not in html
    assert "0.370 AP at 384 px" in text and "night on val.json" in text


def test_details_of_the_best_resolution_are_shown(tmp_path: Path) -> None:
    html = page(make_run(tmp_path, recipe=RECIPE, evaluation={"evaluations": [row(256, 0.31), row(384, 0.37)]}))
    text = words(html)
    assert "In detail at 384 px" in text
    assert "all 620 0.370 0.400 medium 0 - -" in text
    assert "nose 0.437 0.437 left ankle 0.219 0.219" in text
    assert "width:43.7%" in html and 'aria-label="precision over recall"' in html and "OKS 0.50" in text


@pytest.mark.parametrize(
    "content",
    [
        [{"ap": 0.25}],
        {"dataset": "val", "rows": [{"ap": 0.25, "per_keypoint": {"nose": 0.5, "neck": None}}], "curve": {}},
        {"ap": 0.25, "keypoints": [], "curves": [{"oks": "0.5"}], "sizes": None},
    ],
)
def test_evaluations_of_other_shapes_are_read_as_far_as_they_go(tmp_path: Path, content: Any) -> None:
    assert "0.250" in words(page(make_run(tmp_path, recipe=RECIPE, evaluation=content)))


def test_an_evaluation_in_a_folder_of_its_own_is_found(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe=RECIPE)
    (run / "evaluation").mkdir()
    (run / "evaluation" / "evaluation.json").write_text(json.dumps([row(384, 0.37)]))
    assert "384 px 0.370" in words(page(run))


def test_kept_pictures_are_in_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe=RECIPE)
    keep_pictures(str(run), {"sample_0": np.zeros((8, 8, 3), np.uint8), "sample_1": np.ones((8, 8, 3), np.uint8)})
    keep_pictures(str(run), {"sample_1": np.full((8, 8, 3), 9, np.uint8)})
    html = page(run)
    assert html.count("src='data:image/png;base64,iVBOR") == 2
    assert html.index("sample 0") < html.index("sample 1")


def test_the_page_loads_nothing_and_is_well_formed(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe=RECIPE, evaluation=[row(256, 0.31), row(384, 0.37)])
    keep_pictures(str(run), {"sample_0": np.zeros((8, 8, 3), np.uint8)})
    html = page(run)
    parser = Balanced()
    parser.feed(html)
    assert not parser.open
    assert "<script" not in html and "http:" not in html and "https:" not in html
    assert "prefers-color-scheme: dark" in html


def test_names_with_markup_in_them_are_only_text(tmp_path: Path) -> None:
    nasty = RECIPE | {"network": "<script>alert(1)</script>"}
    run = make_run(tmp_path, [event(20) | {"phase": "<b>"}, event(40) | {"phase": "</svg>"}], recipe=nasty)
    html = page(run, {"<i>fact": "<img src=x>"})
    assert "<script" not in html and "<b>" not in html and "<img src=x" not in html and "<i>fact" not in html


def test_a_run_that_is_not_finished_is_reported_so(tmp_path: Path) -> None:
    text = words(page(make_run(tmp_path, [event(20), event(40)], recipe=RECIPE)))
    assert "not finished: 40 of 200 steps" in text


def test_a_run_without_history_or_without_recipe_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path, [], recipe=RECIPE)
    assert "not finished: 0 of 200 steps" in words(page(run))
    (run / "recipe.json").unlink()
    (run / "history.jsonl").write_text(json.dumps(event(20)))
    assert "20 steps" in words(page(run))


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, [event(20), event(40, math.nan), event(60, math.inf) | {"learning_rate": None}])
    html = page(run)
    assert "nan" not in words(html).lower() and "inf" not in re.findall(r' d="[^"]*"', html)


def test_no_run_and_broken_files_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=f"{tmp_path}: no run to report"):
        write_report(str(tmp_path))
    run = make_run(tmp_path)
    (run / "recipe.json").write_text("{")
    with pytest.raises(ReportError, match=r"recipe\.json: not JSON"):
        write_report(str(run))
    (run / "recipe.json").unlink()
    (run / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"report\.html: "):
        write_report(str(run))


def test_a_report_that_cannot_be_made_leaves_the_one_before(tmp_path: Path) -> None:
    run = make_run(tmp_path, recipe=RECIPE)
    before = page(run)
    (run / "evaluation.json").write_text("[")
    with pytest.raises(ReportError):
        write_report(str(run))
    assert (run / "report.html").read_text("utf-8") == before


def history(*events: dict[str, Any] | str) -> Any:
    return parse_history([line if isinstance(line, str) else json.dumps(line) for line in events])


def test_the_line_that_a_killed_run_was_writing_is_left_out() -> None:
    found = history(event(20), event(40), '{"step": 60, "lo')
    assert [line["step"] for line in found.steps] == [20, 40]
    assert found.damaged == 1


def test_after_a_resume_the_later_of_two_steps_counts() -> None:
    found = history(event(20, 9.0), event(40, 8.0), event(60, 7.0), event(40, 6.0), event(60, 5.0), event(80, 4.0))
    assert points(found.steps, "loss") == [(20, 9.0), (40, 6.0), (60, 5.0), (80, 4.0)]


def test_a_resume_drops_accuracy_that_will_be_measured_again() -> None:
    found = history(
        event(20), {"step": 20, "ap": 0.1}, event(40), {"step": 40, "ap": 0.2}, event(60), {"step": 60, "ap": 0.3},
        event(40), event(60), {"step": 60, "ap": 0.4},
    )  # fmt: skip
    assert points(found.accuracy, "ap") == [(20, 0.1), (40, 0.2), (60, 0.4)]


def test_lines_that_are_no_events_are_counted() -> None:
    found = history("[]", "", "null", '{"loss": 3}', '{"step": true}', event(20))
    assert (len(found.steps), found.damaged) == (1, 4)


def test_a_run_that_has_not_begun_has_an_empty_history(tmp_path: Path) -> None:
    assert read_history(str(tmp_path)) == ([], [], 0)


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (0, 15_000, [0, 5000, 10_000, 15_000]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (187, 348, [200, 250, 300]),
        (0, 0.00098, [0, 0.0002, 0.0004, 0.0006, 0.0008]), (-3, 3, [-2, 0, 2]), (7, 7.5, [7, 7.1, 7.2, 7.3, 7.4, 7.5]),
    ],
)  # fmt: skip
def test_ticks_are_round_numbers(lowest: float, highest: float, expected: list[float]) -> None:
    assert ticks(lowest, highest) == pytest.approx(expected)


def test_a_chart_draws_points_where_the_axes_say() -> None:
    svg = line_chart("t", [Series("a", [(0, 0.0), (5, 10.0), (10, 5.0)])], Axis("x"), Axis("y", 0.0, 10.0))
    (path,) = re.findall(r'<path class="" d="M([^"]*)"', svg)
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, pair.split())) for pair in path.split(" L")]
    assert x1 - x0 == pytest.approx(x2 - x1) and x0 < x1
    assert y0 > y2 > y1 and y2 == pytest.approx((y0 + y1) / 2)


def test_a_first_peak_does_not_squeeze_the_rest_of_a_chart() -> None:
    values = [(step, 5000.0 if step == 0 else 200.0 + step % 7) for step in range(300)]
    svg = line_chart("t", [Series("a", values)], Axis("x"), Axis("y"))
    (path,) = re.findall(r'<path class="" d="M([^"]*)"', svg)
    heights = [float(pair.split()[1]) for pair in path.split(" L")]
    assert np.ptp(heights[1:]) > 100
    assert min(heights) >= 0


def test_a_chart_without_points_is_nothing_and_one_point_is_enough() -> None:
    assert line_chart("t", [Series("a", [])], Axis("x"), Axis("y")) == ""
    assert "<circle" in line_chart("t", [Series("a", [(5, 3.0)])], Axis("x"), Axis("y"))
    assert "<path" in line_chart("t", [Series("a", [(5, 0.0), (6, 0.0)])], Axis("x"), Axis("y"))


def test_a_long_run_gives_a_small_chart() -> None:
    values = [(step, math.sin(step / 1000)) for step in range(100_000)]
    assert len(line_chart("t", [Series("a", values)], Axis("x"), Axis("y"))) < 80_000


def test_a_running_median_is_not_bent_by_one_wild_value() -> None:
    values = [(step, 1.0) for step in range(100)]
    values[50] = (50, 1e6)
    assert running_median(values) == [(step, 1.0) for step in range(100)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page_in_both_schemes(tmp_path: Path, browser: Browser, scheme: Any) -> None:
    run = make_run(tmp_path, recipe=RECIPE, evaluation=[row(256, 0.31), row(384, 0.37)])
    keep_pictures(str(run), {"sample_0": np.zeros((8, 8, 3), np.uint8)})
    opened = browser.new_context(color_scheme=scheme, viewport={"width": 420, "height": 900}).new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    opened.goto(f"file://{write_report(str(run))}")
    brightness = "c => getComputedStyle(document.body)[c].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    text, ground = (opened.evaluate(brightness, name) for name in ("color", "backgroundColor"))
    assert (text > ground) == (scheme == "dark") and abs(text - ground) > 400
    assert opened.evaluate("document.documentElement.scrollWidth") <= 420
    assert opened.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    assert not said
    opened.context.close()


def test_a_run_at_an_address_is_reported_there() -> None:
    run = "ram://report-test/night"  # TensorFlow's file system in memory, in place of a bucket
    storage.write_bytes(f"{run}/history.jsonl", json.dumps(event(20)).encode())
    keep_pictures(run, {"sample_0": np.zeros((8, 8, 3), np.uint8)})
    html = storage.read_bytes(write_report(run)).decode()
    assert "<h1>night</h1>" in html and "sample 0" in html
