"""How many pictures are under way at once."""

from __future__ import annotations

from service.live.lead import Lead


def test_before_anything_is_known_all_credits_are_used() -> None:
    assert Lead().most(2) == 2


def test_one_picture_at_a_time_is_enough_where_results_hardly_travel() -> None:
    lead = Lead()
    lead.learn(0.023, {"total": 20.0, "queue": 0.5})
    assert lead.most(2) == 1


def test_a_slow_network_is_worth_more_pictures_under_way() -> None:
    lead = Lead()
    lead.learn(0.120, {"total": 20.0, "queue": 0.5})
    assert lead.most(2) == 2
    assert lead.most(4) == 4


def test_waiting_behind_ones_own_pictures_is_no_travelling() -> None:
    lead = Lead()
    lead.learn(0.043, {"total": 40.0, "queue": 20.0})
    assert lead.most(2) == 1


def test_it_follows_a_network_that_becomes_slow() -> None:
    lead = Lead()
    for _ in range(50):
        lead.learn(0.023, {"total": 20.0, "queue": 0.5})
    assert lead.most(2) == 1
    for _ in range(50):
        lead.learn(0.120, {"total": 20.0, "queue": 0.5})
    assert lead.most(2) == 2
