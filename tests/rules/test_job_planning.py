"""A promise that slips: when a job that waits too long is thought over, and that it is not moved for ever."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from hub.jobs import economy, planning
from hub.jobs.economy import HOUR, Offer, Plan, Prices, Wish
from hub.jobs.planning import AGAIN_SECONDS, MOST_MOVES, SLIP_SECONDS, SOONEST_SECONDS, Again, Promise
from tests.rules.test_job_economy import DEAR, offers, wish, wishes


def reconsider(promise: Promise, wanted: Wish, places: list[Offer]) -> Again:
    return planning.reconsider(promise, economy.plan(wanted, places))


def test_an_estimate_slips_by_more_than_ten_minutes_and_a_fifth() -> None:
    soon, later = Promise("a", 600), Promise("a", 10 * HOUR)
    assert not planning.slipped(soon, 1200)
    assert planning.slipped(soon, 1201)
    assert not planning.slipped(later, 12 * HOUR)
    assert planning.slipped(later, 12 * HOUR + 1)
    assert planning.slipped(soon, None)


def test_a_job_that_would_miss_its_deadline_moves_to_where_it_meets_it() -> None:
    delayed = Offer(backend="cheap", prices=Prices(1), starts_in=20 * HOUR)
    again = reconsider(Promise("cheap", 12 * HOUR), wish(13 * HOUR), [delayed, DEAR])
    assert again.to == "dear"
    assert "meets it on dear" in again.why


def test_a_job_that_ends_later_but_in_time_stays_where_it_is_cheapest() -> None:
    delayed = Offer(backend="cheap", prices=Prices(1), starts_in=20 * HOUR)
    assert reconsider(Promise("cheap", 12 * HOUR), wish(33 * HOUR), [delayed, DEAR]).to is None


def test_a_job_that_would_have_little_time_to_spare_moves_to_where_its_deadline_is_sure() -> None:
    delayed = Offer(backend="cheap", prices=Prices(1), starts_in=20 * HOUR)
    again = reconsider(Promise("cheap", 12 * HOUR), wish(33 * HOUR - 1), [delayed, DEAR])
    assert again == Again("dear", "It would have too little time to spare on cheap, and meets its deadline on dear.")


def test_a_job_is_not_moved_for_ever() -> None:
    delayed = Offer(backend="cheap", prices=Prices(1), starts_in=20 * HOUR)
    again = reconsider(Promise("cheap", 12 * HOUR, MOST_MOVES), wish(13 * HOUR), [delayed, DEAR])
    assert again.to is None
    assert "stays where it is" in again.why


def test_a_place_that_went_away_is_left() -> None:
    gone = Offer(backend="cheap", prices=Prices(1), starts_in=0.0, reached=False)
    assert reconsider(Promise("cheap", 2 * HOUR), wish(), [gone, DEAR]).to == "dear"
    assert reconsider(Promise("cheap", 2 * HOUR), wish(), [DEAR]).to == "dear"
    assert reconsider(Promise("cheap", 2 * HOUR), wish(), [gone]).to is None


@given(wishes, offers, st.sampled_from("abcdef"), st.floats(0, 1e6))
def test_who_moved_stays_as_long_as_nothing_changes(
    wanted: Wish, places: list[Offer], where: str, promised: float
) -> None:
    first = reconsider(Promise(where, promised), wanted, places)
    assume(first.to is not None)
    table = economy.plan(wanted, places)
    assert table.chosen is not None
    assert table.chosen.backend == first.to
    moved = Promise(str(first.to), table.chosen.ends_in or 0.0, 1)
    assert reconsider(moved, wanted, places).to is None


def test_a_job_that_still_waits_is_thought_over_when_it_should_have_started_where_there_is_another_place() -> None:
    delayed = Offer(backend="cheap", prices=Prices(1), starts_in=20 * HOUR)
    assert planning.first_thought(economy.plan(wish(), [delayed, DEAR])) == 20 * HOUR + SLIP_SECONDS
    assert planning.first_thought(economy.plan(wish(), [delayed])) is None
    assert planning.first_thought(Plan(())) is None


def test_the_first_that_a_scheduler_can_tell_is_what_is_promised_and_a_later_end_is_a_slip() -> None:
    assert planning.heard(None, 2 * HOUR, HOUR, None) == planning.Word(3 * HOUR, thinks=False)
    assert planning.heard(3 * HOUR, 2 * HOUR + 60, HOUR, None) == planning.Word(3 * HOUR, thinks=False)
    assert planning.heard(3 * HOUR, 9 * HOUR, HOUR, None) == planning.Word(3 * HOUR, thinks=True)


def test_a_scheduler_that_says_another_time_at_every_poll_leads_to_few_thoughts() -> None:
    assert not planning.heard(HOUR, 9 * HOUR, HOUR, SOONEST_SECONDS).thinks
    assert planning.heard(HOUR, 9 * HOUR, HOUR, SOONEST_SECONDS + 1).thinks
    assert SOONEST_SECONDS < AGAIN_SECONDS
