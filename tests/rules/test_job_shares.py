"""Whose turn it is by what they used, what a quota lets through, and that a budget's warnings come once."""

from __future__ import annotations

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


def claims(*paths: tuple[Account, ...]) -> list[Claim]:
    return [Claim(str(order), path, order) for order, path in enumerate(paths)]


def test_turns_go_round_over_classes_first_and_over_people_within_them() -> None:
    waiting = claims((CLASS, ANA), (CLASS, ANA), (CLASS, BEN), (OTHER, CEM), (OTHER, CEM))
    assert shares.fair_order(waiting, {}) == ["0", "3", "2", "4", "1"]


def test_who_used_least_for_their_share_is_next() -> None:
    waiting = claims((CLASS, ANA), (CLASS, BEN))
    assert shares.fair_order(waiting, {ANA: 5, BEN: 1}) == ["1", "0"]
    assert shares.fair_order(waiting, {ANA: 5, BEN: 3}, {ANA: 2}) == ["0", "1"]
    assert shares.fair_order(waiting, {}, {ANA: 0}) == ["1", "0"]


def test_a_job_that_takes_much_costs_its_person_more_turns() -> None:
    waiting = claims((CLASS, ANA), (CLASS, ANA), (CLASS, BEN), (CLASS, BEN))
    assert shares.fair_order(waiting, {}, takes={"0": 100}) == ["0", "2", "3", "1"]


paths = st.tuples(st.sampled_from([CLASS, OTHER]), st.sampled_from([ANA, BEN, CEM]))


@given(st.lists(paths, max_size=30), st.dictionaries(st.sampled_from([CLASS, OTHER, ANA, BEN, CEM]), st.floats(0, 9)))
def test_every_job_is_in_the_order_once_and_ones_own_come_as_they_were_queued(
    waiting: list[tuple[Account, ...]], used: dict[Account, float]
) -> None:
    jobs = claims(*waiting)
    order = shares.fair_order(jobs, used)
    assert sorted(order, key=int) == [each.job for each in jobs]
    of = {each.job: each.accounts for each in jobs}
    for path in set(waiting):
        mine = [int(job) for job in order if of[job] == path]
        assert mine == sorted(mine)


@given(st.lists(st.sampled_from([ANA, BEN, CEM]), min_size=1, max_size=30))
def test_nobody_who_still_waits_is_more_than_one_turn_behind_another_of_their_class(waiting: list[Account]) -> None:
    left = {person: waiting.count(person) for person in waiting}
    had = dict.fromkeys(left, 0)
    for job in shares.fair_order(claims(*[(CLASS, person) for person in waiting]), {}):
        had[waiting[int(job)]] += 1
        still = [had[person] for person in had if had[person] < left[person]]
        assert not still or max(had.values()) - min(still) <= 1


def test_the_factor_is_half_for_who_used_just_their_share() -> None:
    assert shares.factor(0, 100, 0.25) == 1
    assert shares.factor(25, 100, 0.25) == 0.5
    assert shares.factor(50, 100, 0.25) == 0.25
    assert shares.factor(5, 0, 0.25) == 1
    assert shares.factor(5, 100, 0) == 0
