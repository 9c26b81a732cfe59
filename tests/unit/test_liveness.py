"""Which workers are taken for dead, when, and by whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.jobs.database import open_database, workers_table
from service.jobs.liveness import Liveness, place_of_this_process

LONG = 3600.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(None, tmp_path)
    yield engine
    engine.dispose()


def add(engine: sa.Engine, name: str, *, place: str = "elsewhere", pid: int = 1, started: float = 0.0) -> None:
    with engine.begin() as connection:
        row = {"id": name, "place": place, "pid": pid, "started": started, "beats": 0, "gone": False}
        connection.execute(sa.insert(workers_table).values(**row))


def beat(engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        values = {"beats": workers_table.c.beats + 1}
        connection.execute(sa.update(workers_table).where(workers_table.c.id == name).values(**values))


def workers(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(workers_table.c.id)))


class Watcher:
    """A live worker that notes whom it takes over from."""

    def __init__(self, engine: sa.Engine, timeout: float) -> None:
        self.taken: list[str] = []
        self.liveness = Liveness(engine, timeout, self.taken.append)
        self.liveness.join()
        self.liveness.start()


@pytest.fixture
def watch(engine: sa.Engine) -> Iterator[Callable[[float], Watcher]]:
    made: list[Watcher] = []

    def start(timeout: float) -> Watcher:
        made.append(Watcher(engine, timeout))
        return made[-1]

    yield start
    for watcher in made:
        watcher.liveness.leave()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_that_left_is_taken_over_from_at_once(engine: sa.Engine, watch: Callable[[float], Watcher]) -> None:
    gone = Liveness(engine, LONG, lambda worker: None)
    gone.join()
    gone.leave()
    watcher = watch(LONG)
    assert watcher.taken == [gone.id]
    assert workers(engine) == {watcher.liveness.id}


def test_a_process_that_is_gone_from_this_machine_is_taken_over_from_at_once(
    engine: sa.Engine, watch: Callable[[float], Watcher]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    add(engine, "dead", place=place_of_this_process(), pid=process.pid, started=time.time())
    assert watch(LONG).taken == ["dead"]


def test_another_process_with_the_same_number_is_not_taken_for_the_worker(
    engine: sa.Engine, watch: Callable[[float], Watcher]
) -> None:
    add(engine, "dead", place=place_of_this_process(), pid=os.getpid(), started=1.0)
    assert watch(LONG).taken == ["dead"]


def test_a_living_process_of_this_machine_keeps_its_jobs(engine: sa.Engine, watch: Callable[[float], Watcher]) -> None:
    living = Liveness(engine, LONG, lambda worker: None)
    living.join()
    assert watch(LONG).taken == []
    assert living.id in workers(engine)


def test_a_worker_elsewhere_is_dead_after_its_silence_and_not_while_it_beats(
    engine: sa.Engine, watch: Callable[[float], Watcher]
) -> None:
    add(engine, "silent")
    add(engine, "beating")
    stopped = threading.Event()

    def go_on() -> None:
        while not stopped.wait(0.05):
            beat(engine, "beating")

    heart = threading.Thread(target=go_on)
    heart.start()
    try:
        begin = time.monotonic()
        watcher = watch(1.0)
        until(lambda: watcher.taken == ["silent"])
        assert time.monotonic() - begin >= 1.0
        assert "beating" in workers(engine)
    finally:
        stopped.set()
        heart.join()


def test_one_of_many_watchers_takes_over(engine: sa.Engine, watch: Callable[[float], Watcher]) -> None:
    watchers = [watch(LONG) for _ in range(4)]
    for watcher in watchers:  # as if all looked at the same moment
        watcher.liveness._timeout = 0.2
    add(engine, "dead", place=place_of_this_process(), pid=os.getpid(), started=1.0)
    threads = [threading.Thread(target=watcher.liveness._watch) for watcher in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [name for watcher in watchers for name in watcher.taken] == ["dead"]


def test_a_worker_that_was_taken_for_dead_joins_again(engine: sa.Engine, watch: Callable[[float], Watcher]) -> None:
    watcher = watch(0.5)
    with engine.begin() as connection:
        connection.execute(sa.delete(workers_table))
    until(lambda: watcher.liveness.id in workers(engine))
