"""What a job costs, and that it goes to the cheapest place that meets its deadline within its budget."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hub.jobs import economy
from hub.jobs.economy import Held, Offer, Prices, Wish
from hub.jobs.requests import Resources

HOUR = economy.HOUR
ONE = Held(1)


def test_the_seeds_payload_holds_its_cores_on_every_node() -> None:
    assert economy.held(Resources(nodes=2, cpus_per_node=16)) == Held(32)
    assert economy.cost(Held(32), 2 * HOUR, Prices(0.05)) == economy.Cost(64, 0, pytest.approx(3.2))


def test_gpus_are_asked_for_per_node_and_an_array_holds_for_each_task() -> None:
    assert economy.held(Resources(nodes=2, cpus_per_node=4, gpus=2, array="0-4%2")) == Held(40, 20)
    assert economy.held(Resources(tasks_per_node=8)) == Held(8)


@pytest.mark.parametrize(
    ("text", "many"), [(None, 1), ("7", 1), ("0-9", 10), ("1,3,5-7", 5), ("0-100:10%4", 11), ("1-3,2-4", 4)]
)
def test_tasks_of_an_array(text: str | None, many: int) -> None:
    assert economy.tasks_of(text) == many


@pytest.mark.parametrize("text", ["", "a", "9-1", "1-", "1-5:0", "1,,2", "0-9999999", "\u0661-3", "1-2-3", "-1"])
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no array"):
        economy.tasks_of(text)


def test_a_task_of_an_array_held_its_part_for_as_long_as_it_ran_and_no_longer_than_it_may_have() -> None:
    assert economy.held_on_average(4, 4, 4 * 60.0, HOUR) == 60
    assert economy.held_on_average(4, 3, 3 * 60.0, HOUR) == (3 * 60 + HOUR) / 4
    assert economy.held_on_average(4, 0, 0.0, HOUR) == HOUR


def test_a_price_that_nobody_told_makes_only_that_cost_unknown_which_needs_it() -> None:
    assert economy.cost(Held(4), HOUR, Prices(0.5)).money == 2
    assert economy.cost(Held(4, 1), HOUR, Prices(0.5)).money is None
    assert economy.cost(Held(4), HOUR, Prices()).money is None
    assert economy.cost(Held(4, 1), HOUR, Prices(0.5, 3)).money == 5


CHEAP = Offer(backend="cheap", prices=Prices(1), starts_in=10 * HOUR)
DEAR = Offer(backend="dear", prices=Prices(3), starts_in=0.0)
FREE = Offer(backend="local", prices=Prices(0), starts_in=0.0, refusals=("resources.nodes is more than one",))


def wish(ends_within: float | None = None, budget: float | None = None) -> Wish:
    return Wish(held=ONE, wall_seconds=2 * HOUR, ends_within=ends_within, budget=budget)


def chosen(plan: economy.Plan) -> str:
    assert plan.chosen is not None
    return plan.chosen.backend


def test_the_cheapest_is_taken_while_it_meets_the_deadline_and_the_dearer_one_when_it_does_not() -> None:
    assert chosen(economy.plan(wish(), [DEAR, CHEAP, FREE])) == "cheap"
    assert chosen(economy.plan(wish(18 * HOUR), [DEAR, CHEAP, FREE])) == "cheap"
    plan = economy.plan(wish(18 * HOUR - 1), [DEAR, CHEAP, FREE])
    assert chosen(plan) == "dear", "half of the twelve hours until its end must be to spare"
    assert plan.candidates[1].in_time
    assert plan.candidates[1].why == "it meets the deadline with too little time to spare"


def test_where_no_place_has_time_to_spare_it_is_the_one_that_ends_first() -> None:
    soon = Offer(backend="soon", prices=Prices(1), starts_in=0.1 * HOUR)
    plan = economy.plan(wish(2.5 * HOUR), [soon, DEAR])
    assert chosen(plan) == "dear"
    assert plan.candidates[0].why == "every place that meets the deadline has little time to spare; it ends here first"
    short = Wish(held=ONE, wall_seconds=60, ends_within=660)
    assert economy.is_sure(economy.plan(short, [DEAR]).candidates[0], 660)
    assert not economy.is_sure(economy.plan(short, [DEAR]).candidates[0], 659), "ten minutes at least"


def test_without_a_place_that_meets_the_deadline_it_is_the_one_that_ends_first() -> None:
    plan = economy.plan(wish(60), [CHEAP, DEAR])
    assert chosen(plan) == "dear"
    assert "no place meets the deadline" in plan.candidates[0].why


def test_the_table_names_every_place_and_why_it_was_not_taken() -> None:
    unknown = Offer(backend="far", prices=Prices(), starts_in=None)
    down = Offer(backend="down", reached=False)
    plan = economy.plan(wish(12 * HOUR, budget=5), [FREE, DEAR, CHEAP, unknown, down])
    assert [(each.backend, each.ends_in, each.cost, each.why) for each in plan.candidates] == [
        ("cheap", 12 * HOUR, 2, "the only place for it; it meets the deadline"),
        ("local", 2 * HOUR, 0, "resources.nodes is more than one"),
        ("dear", 2 * HOUR, 6, "it may cost 6.00, the budget is 5.00"),
        ("far", None, None, "nobody has said what it costs, and there is a budget"),
        ("down", None, None, "it does not answer"),
    ]


def test_a_job_that_is_expected_to_be_short_is_priced_by_that_and_kept_within_its_budget_by_the_most() -> None:
    quick = Offer(backend="quick", prices=Prices(4), starts_in=0.0, run_seconds=HOUR / 4)
    [row] = economy.plan(wish(), [quick]).candidates
    assert (row.cost, row.most) == (1, 8)
    assert economy.plan(wish(budget=7.99), [quick]).chosen is None


def test_every_small_world_is_decided_as_the_definition_says() -> None:
    """Three places, each with its cost, its start and whether it can; every deadline: against plain enumeration."""
    for prices in product((0.0, 1.0, None), repeat=3):
        for starts in product((0.0, 5 * HOUR, None), repeat=3):
            for deadline in (None, HOUR, 3 * HOUR, 9 * HOUR):
                offers = [
                    Offer(backend=str(i), prices=Prices(price), starts_in=start)
                    for i, (price, start) in enumerate(zip(prices, starts, strict=True))
                ]
                made = economy.plan(wish(deadline), offers)
                assert made.chosen is not None
                if deadline is None:
                    meeting = offers
                else:
                    meeting = [
                        o for o in offers if o.starts_in is not None and 1.5 * (o.starts_in + 2 * HOUR) <= deadline
                    ]
                if meeting:
                    known = [o.prices.core_hour for o in meeting if o.prices.core_hour is not None]
                    assert made.chosen.in_time is not False
                    assert made.chosen.cost == (2 * min(known) if known else None)
                else:
                    ends = [o.starts_in + 2 * HOUR for o in offers if o.starts_in is not None]
                    assert made.chosen.ends_in == (min(ends) if ends else None)


offers = st.lists(
    st.builds(
        Offer,
        backend=st.sampled_from("abcdef"),
        prices=st.builds(Prices, st.none() | st.floats(0, 10), st.none() | st.floats(0, 10)),
        starts_in=st.none() | st.floats(0, 1e6),
        run_seconds=st.none() | st.floats(0, 1e6),
        refusals=st.sampled_from([(), (), (), ("no",)]),
        reached=st.sampled_from([True, True, True, False]),
    ),
    max_size=6,
    unique_by=lambda each: each.backend,
)
wishes = st.builds(
    Wish,
    held=st.builds(Held, st.integers(1, 64), st.integers(0, 8)),
    wall_seconds=st.floats(60, 1e5),
    ends_within=st.none() | st.floats(0, 1e6),
    budget=st.none() | st.floats(0, 1000),
)


@given(wishes, offers)
def test_a_plan_names_each_place_once_takes_a_possible_one_if_there_is_any_and_tells_why(
    wanted: Wish, places: list[Offer]
) -> None:
    made = economy.plan(wanted, places)
    assert sorted(each.backend for each in made.candidates) == sorted(each.backend for each in places)
    assert all(each.why for each in made.candidates)
    assert (made.chosen is not None) == any(each.possible for each in made.candidates)
    assert sum(each.chosen for each in made.candidates) == (made.chosen is not None)
    if (best := made.chosen) is not None:
        assert best.possible
        if wanted.budget is not None:
            assert best.most is not None
            assert best.most <= wanted.budget
        rivals = [each for each in made.candidates if each.possible and economy.is_sure(each, wanted.ends_within)]
        meeting = [each for each in made.candidates if each.possible and each.in_time is not False]
        assert not meeting or best.in_time is not False
        if rivals:
            assert all(each.cost is None or (best.cost is not None and best.cost <= each.cost) for each in rivals)


@given(wishes, offers, st.data())
def test_the_order_in_which_places_are_named_changes_nothing_but_between_equals(
    wanted: Wish, places: list[Offer], data: st.DataObject
) -> None:
    one = economy.plan(wanted, places).chosen
    other = economy.plan(wanted, data.draw(st.permutations(places))).chosen
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert (one.cost, one.ends_in, one.in_time) == (other.cost, other.ends_in, other.in_time)


@given(wishes, offers, st.floats(0, 1000))
def test_more_time_never_makes_it_dearer(wanted: Wish, places: list[Offer], more: float) -> None:
    assume(wanted.ends_within is not None)
    assert wanted.ends_within is not None
    later = Wish(
        held=wanted.held,
        wall_seconds=wanted.wall_seconds,
        ends_within=wanted.ends_within + more,
        budget=wanted.budget,
    )
    before, after = economy.plan(wanted, places).chosen, economy.plan(later, places).chosen
    if before is not None and economy.is_sure(before, wanted.ends_within):
        assert after is not None
        assert after.in_time
        if before.cost is not None:
            assert after.cost is not None
            assert after.cost <= before.cost


@pytest.mark.parametrize(
    ("amount", "said"), [(None, "unknown"), (0, "0.00"), (1.256, "1.26"), (0.0042, "0.004"), (1e-9, "0.00")]
)
def test_money_is_shown_to_the_cent_and_small_amounts_by_their_first_digit(amount: float | None, said: str) -> None:
    assert economy.shown_money(amount) == said
