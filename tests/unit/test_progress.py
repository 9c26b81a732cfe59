from __future__ import annotations

import io

import pytest

from trainer.progress import ProgressLine, describe_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


LOSSES = {"loss": 250.25, "heatmap": 20.0, "paf": 230.25}


def run(
    progress: ProgressLine, clock: Clock, steps: range, seconds: float = 0.5, pauses: dict[int, float] | None = None
) -> None:
    for step in steps:
        clock.now += seconds + (pauses or {}).get(step, 0.0)
        progress.update(step, LOSSES, 1e-3)


def test_a_log_gets_one_plain_line_every_few_steps() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressLine(100, batch=8, log_every=20, stream=stream, clock=clock) as progress:
        progress.start("neck")
        run(progress, clock, range(1, 101))
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["1/100", "21/100", "41/100", "61/100", "81/100", "100/100"]
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()
    assert lines[2] == ("step 21/100  loss 250.2 (heatmap 20, paf 230.2)  lr 1.00e-03  16 images/s  ETA 40 s")


def test_the_end_is_always_told() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = ProgressLine(7, batch=8, log_every=20, stream=stream, clock=clock)
    progress.start("neck")
    run(progress, clock, range(1, 8))
    assert "step 7/7" in stream.getvalue()


def test_a_terminal_shows_the_last_state_on_one_line() -> None:
    stream, clock = Terminal(), Clock()
    with ProgressLine(100, batch=8, stream=stream, clock=clock, width=140) as progress:
        progress.start("neck")
        run(progress, clock, range(1, 101))
    last = stream.getvalue().split("\x1b[2K")[-1]
    assert "neck" in last and "100/100" in last and "loss 250.2" in last and "16 images/s" in last
    assert stream.getvalue().count("\n") <= 2


def test_a_terminal_is_not_written_to_at_every_step_of_a_fast_network() -> None:
    stream, clock = Terminal(), Clock()
    with ProgressLine(10_000, batch=8, log_every=1000, stream=stream, clock=clock, width=140) as progress:
        progress.start("neck")
        run(progress, clock, range(1, 10_001), seconds=0.001)
    assert stream.getvalue().count("images/s") < 150


def test_a_narrow_terminal_gets_one_line_with_what_matters_most() -> None:
    stream, clock = Terminal(), Clock()
    with ProgressLine(100, batch=8, stream=stream, clock=clock, width=60) as progress:
        progress.start("neck")
        run(progress, clock, range(1, 31))
    assert stream.getvalue().count("\n") <= 2
    last = stream.getvalue().split("\x1b[2K")[-1]
    assert "30/100" in last and "ETA 35 s" in last and "loss 250.2" in last


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_accuracy_and_messages_stay(kind: type[io.StringIO]) -> None:
    stream, clock = kind(), Clock()
    with ProgressLine(100, batch=8, stream=stream, clock=clock, width=140) as progress:
        progress.start("neck")
        run(progress, clock, range(1, 21))
        progress.accuracy(20, {"ap": 0.3214, "ap50": 0.5, "images": 100})
        progress.message("checkpoint 20 [whole]")
        run(progress, clock, range(21, 41))
    assert "step 20: AP 0.321  AP50 0.500  IMAGES 100\n" in stream.getvalue()
    assert "checkpoint 20 [whole]\n" in stream.getvalue()


def test_a_resumed_run_says_where_it_goes_on() -> None:
    stream = io.StringIO()
    ProgressLine(5000, batch=8, stream=stream).start("all", step=1200)
    assert "going on from step 1,200 of 5,000" in stream.getvalue()


def progress_line(total: int = 1000) -> tuple[ProgressLine, Clock]:
    clock = Clock()
    progress = ProgressLine(total, batch=10, stream=io.StringIO(), clock=clock)
    progress.start("neck")
    return progress, clock


def test_speed_does_not_count_compilation_or_pauses() -> None:
    progress, clock = progress_line()
    run(progress, clock, range(1, 101), seconds=2.0, pauses={1: 90.0, 50: 300.0})
    assert progress.images_per_second == pytest.approx(5.0)


def test_nothing_is_claimed_before_it_is_known() -> None:
    progress, clock = progress_line()
    assert progress.images_per_second is None and progress.eta(0) is None
    run(progress, clock, range(1, 2))
    assert progress.images_per_second is None and progress.eta(1) is None


def test_the_rest_counts_pauses_as_often_as_they_came() -> None:
    progress, clock = progress_line(1001)
    run(progress, clock, range(1, 502), seconds=2.0, pauses={1: 90.0, 100: 50.0, 200: 50.0, 300: 50.0, 400: 50.0})
    assert progress.eta(501) == pytest.approx(500 * 2.0 + 200.0, rel=0.01)


def test_speed_follows_a_phase_that_trains_more() -> None:
    progress, clock = progress_line()
    run(progress, clock, range(1, 101), seconds=1.0)
    progress.start("all", step=100)
    run(progress, clock, range(101, 106), seconds=4.0)
    assert progress.images_per_second == pytest.approx(2.5)
    assert progress.eta(105) == pytest.approx(895 * 4.0, rel=0.01)


def test_steps_without_losses_may_be_queued_and_are_not_measured() -> None:
    progress, clock = progress_line()
    for step in range(1, 101):
        clock.now += 0.001 if step % 20 else 40.0
        progress.update(step, LOSSES if step % 20 == 0 else None)
    assert progress.images_per_second == pytest.approx(10 / 2.0, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (725, "12 min 5 s"), (3600, "1 h 0 min"),
        (12_000, "3 h 20 min"), (86_390, "1 d 0 h"), (190_000, "2 d 5 h"), (-3, "0 s"),
    ],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert describe_duration(seconds) == words
