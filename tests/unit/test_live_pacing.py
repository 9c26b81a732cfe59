from __future__ import annotations

from typing import NamedTuple

import pytest

from service.live.pacing import Pace, without_delay, without_lag


class Packet(NamedTuple):
    time: float | None
    is_keyframe: bool = False


class Clock:
    """Time passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def pace_of(clock: Clock, *, waits: bool) -> Pace:
    return Pace(waits=waits, clock=clock, sleep=clock.sleep)


def packets(count: int, fps: float = 10, gop: int = 5) -> list[Packet]:
    return [Packet(number / fps, number % gop == 0) for number in range(count)]


def test_a_clip_is_played_at_its_own_speed() -> None:
    clock = Clock()
    pace = pace_of(clock, waits=True)
    for time in (2.0, 2.5, 2.6, 4.0):
        pace.keep(time)
        assert clock.now == pytest.approx(48 + time)


def test_a_late_picture_does_not_wait_and_delays_no_other() -> None:
    clock = Clock()
    pace = pace_of(clock, waits=True)
    pace.keep(0.0)
    clock.now += 0.7
    pace.keep(0.5)
    assert clock.now == pytest.approx(50.7)
    pace.keep(1.0)
    assert clock.now == pytest.approx(51.0)


def test_a_cameras_picture_never_waits() -> None:
    clock = Clock()
    pace = pace_of(clock, waits=False)
    pace.keep(0.0)
    pace.keep(5.0)
    assert clock.now == 50.0
    assert pace.late(5.0) == 0  # it came early, so the first one was late
    clock.now += 0.25
    assert pace.late(5.0) == 0.25


def test_a_clip_that_is_decoded_in_time_loses_nothing() -> None:
    clock, lost = Clock(), list[int]()
    pace = pace_of(clock, waits=True)
    played: list[float | None] = []
    for packet in without_delay(iter(packets(40)), lambda one: one.time, pace, lost.append):
        clock.now += 0.05
        pace.keep(packet.time or 0.0)
        played.append(packet.time)
    assert (len(played), lost) == (40, [])


def test_a_clip_that_is_decoded_too_slowly_goes_on_at_key_frames_and_ends_in_time() -> None:
    clock, lost = Clock(), list[int]()
    pace = pace_of(clock, waits=True)
    played: list[Packet] = []
    worst = 0.0
    for packet in without_delay(iter(packets(400)), lambda one: one.time, pace, lost.append):
        clock.now += 0.15  # half again as long as it may take
        pace.keep(packet.time or 0.0)
        worst = max(worst, pace.late(packet.time or 0.0))
        jumped = bool(played) and (packet.time or 0) - (played[-1].time or 0) > 0.11
        assert packet.is_keyframe or not jumped
        played.append(packet)
    assert worst < 1.8
    assert len(played) + sum(lost) == 400
    assert clock.now - 50 < 42


def test_where_there_is_no_key_frame_nothing_is_left_out() -> None:
    clock, lost = Clock(), list[int]()
    pace = pace_of(clock, waits=True)
    count = 0
    for packet in without_delay(iter(packets(100, gop=1000)), lambda one: one.time, pace, lost.append):
        clock.now += 0.2
        pace.keep(packet.time or 0.0)
        count += 1
    assert (count, lost) == (100, [])


def test_a_camera_that_lags_goes_on_at_the_next_key_frame() -> None:
    clock, lost = Clock(), list[int]()
    pace = pace_of(clock, waits=False)
    pace.keep(0.0)
    clock.now += 3
    kept = list(without_lag(iter(packets(40)[2:]), lambda one: one.time, pace, lost.append))
    assert kept[0] == Packet(0.5, is_keyframe=True)
    assert lost == [3]
    assert len(kept) == 35  # once caught up, by its own clock, nothing more


def test_packets_without_times_pass() -> None:
    clock, lost = Clock(), list[int]()
    pace = pace_of(clock, waits=False)
    pace.keep(0.0)
    clock.now += 100
    unknown = [Packet(None)] * 5
    for leave_out in (without_delay, without_lag):
        assert list(leave_out(iter(unknown), lambda one: one.time, pace, lost.append)) == unknown
    assert lost == []


def test_an_end_in_a_gap_is_an_end() -> None:
    clock, lost = Clock(), list[int]()
    pace = pace_of(clock, waits=False)
    pace.keep(0.0)
    clock.now += 100
    assert list(without_lag(iter([Packet(1.0), Packet(2.0)]), lambda one: one.time, pace, lost.append)) == []
