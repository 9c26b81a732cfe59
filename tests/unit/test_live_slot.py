from __future__ import annotations

import threading

import pytest

from service.live.slot import Slot
from shared.errors import YaopError


def test_a_newer_item_replaces_one_that_was_not_taken() -> None:
    slot: Slot[int] = Slot()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take(0) == 3
    assert slot.take(0) is None


def test_a_taker_waits_for_an_item() -> None:
    slot: Slot[int] = Slot()
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.append(slot.take(60)))
    taker.start()
    slot.put(7)
    taker.join(60)
    assert taken == [7]


def test_a_taker_waits_no_longer_than_the_end() -> None:
    slot: Slot[int] = Slot()
    taken: list[int | None] = []
    taker = threading.Thread(target=lambda: taken.append(slot.take(60)))
    taker.start()
    slot.finish()
    taker.join(30)
    assert taken == [None]


def test_what_waits_at_the_end_can_still_be_taken() -> None:
    slot: Slot[int] = Slot()
    slot.put(1)
    slot.finish()
    assert not slot.ended
    assert slot.take(0) == 1
    assert slot.ended


def test_only_the_first_end_counts() -> None:
    slot: Slot[int] = Slot()
    slot.finish(YaopError("the camera is gone"))
    slot.finish()
    with pytest.raises(YaopError, match="the camera is gone"):
        slot.raise_failure()


def test_an_end_without_a_failure_raises_nothing() -> None:
    slot: Slot[int] = Slot()
    slot.finish()
    slot.finish(YaopError("too late"))
    slot.raise_failure()
    assert slot.ended
