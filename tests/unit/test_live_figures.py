from __future__ import annotations

import io
import random

import pytest

from service.live.display import LineNowAndThen, RefreshedLine, choose_display
from service.live.figures import Figures, Latencies
from service.live.seen import Seen
from shared.schema import Frame, ModelRef, Person


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def seen(index: int, latency: float, *ids: int | None, fps: float = 10) -> Seen:
    people = [Person(id=id_, score=0.5, bbox=(0, 0, 1, 1), keypoints={}) for id_ in ids]
    model = ModelRef(name="discs", version="1")
    return Seen(Frame(index=index, timestamp=index / fps, width=4, height=4, people=people, model=model), latency)


def run(figures: Figures, clock: Clock, count: int, latency: float = 0.05, step: int = 1, *, start: int = 0) -> None:
    for number in range(count):
        clock.now += 0.1
        figures.add(seen(start + number * step, latency, 1, 2))


def test_quantiles_are_those_of_the_numbers() -> None:
    numbers = [random.Random(1).lognormvariate(-3, 0.5) for _ in range(5000)]
    latencies = Latencies()
    for number in numbers:
        latencies.add(number)
    for share in (0.5, 0.95):
        exact = sorted(numbers)[round(share * len(numbers)) - 1]
        assert latencies.quantile(share) == pytest.approx(exact, rel=0.03)


def test_quantiles_forget_what_is_removed() -> None:
    latencies = Latencies()
    for number in (0.01, 0.01, 0.01, 1.0):
        latencies.add(number)
    for _ in range(3):
        latencies.remove(0.01)
    assert latencies.quantile(0.5) == pytest.approx(1.0, rel=0.02)
    latencies.remove(1.0)
    assert latencies.quantile(0.5) == 0


def test_the_figures_tell_of_the_last_seconds() -> None:
    clock = Clock()
    figures = Figures(clock)
    assert figures.now() == "waiting for the first picture"
    run(figures, clock, 50, latency=0.4)
    run(figures, clock, 50, latency=0.05, start=50)
    rate, _, rest = figures.now().partition(" fps, ")
    assert float(rate) == pytest.approx(10, abs=0.4)
    assert rest == "latency 50 ms (95 %: 50 ms), 0 dropped, 2 people"


def test_pictures_without_a_result_count_as_dropped() -> None:
    clock = Clock()
    figures = Figures(clock)
    run(figures, clock, 10, step=3)
    assert figures.dropped == 27 - 9
    assert "18 dropped" in figures.now()


def test_the_rate_falls_to_zero_when_nothing_comes() -> None:
    clock = Clock()
    figures = Figures(clock)
    run(figures, clock, 30)
    clock.now += 10
    assert figures.now() == "0.0 fps, 0 dropped, 2 people"


def test_the_summary_tells_of_all() -> None:
    clock = Clock()
    figures = Figures(clock)
    run(figures, clock, 50, latency=0.4)
    run(figures, clock, 50, latency=0.05, start=50)
    text = figures.summary()
    assert text.startswith("100 results in 10.0 s (10.0 fps), latency 5")
    assert text.endswith("0 dropped, 2 people seen")


def test_without_tracking_nobody_is_counted_twice() -> None:
    figures = Figures(Clock())
    figures.add(seen(0, 0.1, None))
    assert figures.now().endswith("1 person")
    assert "seen" not in figures.summary()


def test_a_terminal_has_one_line_that_fits() -> None:
    clock, terminal = Clock(), Terminal()
    display = RefreshedLine(terminal, clock, width=lambda: 20)
    for number in range(100):
        clock.now += 0.05
        display.show(lambda number=number: f"{number} and more than fits in")
    display.close()
    *lines, rest = terminal.getvalue().split("\r\x1b[2K")[1:]
    assert 15 < len(lines) <= 25
    assert all(len(line) <= 19 for line in lines)
    assert lines[-1].startswith("9")
    assert "\n" not in terminal.getvalue()
    assert rest == ""


def test_notes_stay_above_the_line() -> None:
    terminal = Terminal()
    display = RefreshedLine(terminal, Clock(), width=lambda: 80)
    display.show(lambda: "figures")
    display.note("the service\nis away")
    assert terminal.getvalue().endswith("\r\x1b[2Kthe service is away\nfigures")


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    display = LineNowAndThen(stream, clock)
    for number in range(350):
        clock.now += 0.1
        display.show(lambda number=number: str(number))
    display.note("over")
    display.close()
    *lines, last = stream.getvalue().splitlines()
    assert last == "over"
    assert [int(line) for line in lines] == pytest.approx([100, 200, 300], abs=3)


@pytest.mark.parametrize(("results_there", "kind"), [(False, RefreshedLine), (True, LineNowAndThen)])
def test_results_on_the_terminal_are_not_garbled(
    monkeypatch: pytest.MonkeyPatch, results_there: bool, kind: type
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(choose_display(lines_on_terminal=results_there), kind)
