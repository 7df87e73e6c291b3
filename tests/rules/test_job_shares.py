"""Whose turn it is by what they used, what a quota lets through, and that a budget's warnings come once."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import shares
from hub.jobs.shares import Account, Claim, Quota, Used

CLASS, OTHER = Account("class", "physics"), Account("class", "biology")
TEAM = Account("group", "lab")
ANA, BEN, CEM = (Account("person", name) for name in ("ana", "ben", "cem"))


def test_a_budget_warns_once_at_each_threshold_and_only_of_the_highest_when_several_are_passed() -> None:
    assert shares.warnings(0, 49, 100) == []
    assert [each.threshold for each in shares.warnings(49, 50, 100)] == [0.5]
    assert shares.warnings(50, 60, 100) == []
    assert [each.threshold for each in shares.warnings(10, 99, 100)] == [0.95]
    [over] = shares.warnings(99, 120, 100)
    assert over.sentence == "The budget of 100.00 is spent: 120.00."
    assert shares.warnings(49, 81, 100)[0].sentence == "81.00 of the budget of 100.00 are spent, more than 80%."


def test_a_budget_of_nothing_warns_with_the_first_spending() -> None:
    assert len(shares.warnings(0, 0.01, 0)) == 1
    assert shares.warnings(0.01, 0.02, 0) == []
    assert shares.warnings(0, 0, 0) == []


@given(st.lists(st.floats(0, 50), max_size=30), st.floats(1, 200))
def test_whatever_the_spendings_no_threshold_is_told_twice_and_the_last_told_is_the_highest_reached(
    spendings: list[float], budget: float
) -> None:
    spent, told = 0.0, []
    for each in spendings:
        told += [warned.threshold for warned in shares.warnings(spent, spent + each, budget)]
        spent += each
    assert told == sorted(set(told))
    reached = [each for each in shares.WARN_AT if spent >= each * budget]
    assert told[-1:] == reached[-1:]


def test_a_quota_is_kept_for_person_group_and_class_by_the_worst_a_job_can_take() -> None:
    used = {ANA: Used(core_hours=8), TEAM: Used(core_hours=40), CLASS: Used(core_hours=99, running=3)}
    quotas = {ANA: Quota(core_hours=10), TEAM: Quota(core_hours=50, money=5), CLASS: Quota(core_hours=100, running=4)}
    assert shares.breaks(Used(core_hours=1, running=1), used, quotas) == []
    over = shares.breaks(Used(core_hours=4, running=1), used, quotas)
    assert [each.account for each in over] == [CLASS, ANA]
    assert over[1].sentence == "The person ana may have 10 core hours; with this job: 12."


def test_what_a_job_takes_none_of_is_not_its_fault() -> None:
    used, quotas = {ANA: Used(money=9)}, {ANA: Quota(money=5)}
    assert shares.breaks(Used(core_hours=1, open=1), used, quotas) == []
    [over] = shares.breaks(Used(money=1), used, quotas)
    assert over.sentence == "The person ana may have a cost of 5.00; with this job: 10.00."


def test_what_is_left_is_never_below_nothing_and_unbounded_amounts_are_not_told() -> None:
    assert shares.left(Used(core_hours=12, running=1), Quota(core_hours=10, running=4)) == {
        "core_hours": 0,
        "running": 3,
    }


amounts = st.builds(Used, st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.integers(0, 3), st.integers(0, 3))


@given(st.lists(amounts, max_size=20), st.builds(Quota, core_hours=st.floats(0, 30), running=st.integers(0, 5)))
def test_a_quota_that_is_asked_before_each_job_is_never_exceeded(jobs: list[Used], quota: Quota) -> None:
    total = Used()
    for each in jobs:
        if not shares.breaks(each, {ANA: total}, {ANA: quota}):
            total = total + each
    assert quota.core_hours is not None
    assert quota.running is not None
    assert total.core_hours <= quota.core_hours + 1e-6
    assert total.running <= quota.running


def test_use_counts_half_after_a_half_life() -> None:
    week = shares.HALF_LIFE_SECONDS
    assert shares.decayed([(0, 8), (week, 4)], 2 * week) == pytest.approx(2 + 2)
    assert shares.decayed([(100, 8)], 50) == 8  # a clock that ran ahead is no credit
    assert shares.decayed([], 0) == 0


def claims(*accounts: Account) -> list[Claim]:
    return [Claim(str(order), account, order) for order, account in enumerate(accounts)]


def test_turns_go_round_and_who_used_least_is_next() -> None:
    assert shares.fair_order(claims(ANA, ANA, BEN, CEM, CEM), {}) == ["0", "2", "3", "1", "4"]
    assert shares.fair_order(claims(ANA, BEN), {ANA: 5, BEN: 1}) == ["1", "0"]


def test_a_job_that_takes_much_costs_its_person_more_turns() -> None:
    assert shares.fair_order(claims(ANA, ANA, BEN, BEN), {}, takes={"0": 100}) == ["0", "2", "3", "1"]


def by_the_definition(jobs: list[Claim], used: dict[Account, float], takes: dict[str, float]) -> list[str]:
    """Every turn looks at everybody who waits."""
    left, counted, order = sorted(jobs, key=lambda each: each.order), dict(used), []
    while left:
        first: dict[Account, Claim] = {}
        for each in left:
            first.setdefault(each.account, each)

        def due(one: Claim) -> tuple[float, float, int]:
            beside = 0.0 if one.beside is None else counted.get(one.beside, 0.0)
            return (counted.get(one.account, 0.0), beside, one.order)

        chosen = min(first.values(), key=due)
        left.remove(chosen)
        order.append(chosen.job)
        for account in (chosen.account, *([] if chosen.beside is None else [chosen.beside])):
            counted[account] = counted.get(account, 0.0) + takes[chosen.job]
    return order


accounts = st.sampled_from([ANA, BEN, CEM, Account("person", "dan")])
besides = st.sampled_from([None, TEAM, CLASS, OTHER])
uses = st.dictionaries(st.sampled_from([ANA, BEN, CEM, TEAM, CLASS, OTHER]), st.integers(0, 9).map(float))


@given(st.lists(st.tuples(accounts, besides, st.integers(0, 4).map(float)), max_size=30), uses)
def test_the_order_is_that_of_its_definition_whoever_waits(
    waiting: list[tuple[Account, Account | None, float]], used: dict[Account, float]
) -> None:
    jobs = [Claim(str(order), account, order, beside) for order, (account, beside, _) in enumerate(waiting)]
    takes = {str(order): much for order, (_, _, much) in enumerate(waiting)}
    assert shares.fair_order(jobs, used, takes) == by_the_definition(jobs, used, takes)


def test_twice_as_many_who_wait_are_ordered_in_about_twice_the_work() -> None:
    """Counted in calls, so that no machine is too slow for it."""

    def calls(many: int) -> int:
        jobs = [Claim(str(n), Account("person", f"p{n // 2}"), n, Account("group", f"s{n // 4}")) for n in range(many)]
        seen = 0

        def count(*_: object) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(count)
        try:
            assert len(shares.fair_order(jobs, {})) == many
        finally:
            sys.setprofile(None)
        return seen

    assert calls(2000) < 2.5 * calls(1000)
