"""Starts go round over people: nobody's hundred jobs stand before somebody's first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.jobs.placement import Waiting, start_order, startable


def queue(people: str) -> list[Waiting]:
    """`aab` is two jobs of a, then one of b; a job is called by its person and its place."""
    return [Waiting(f"{person}{order}", person, order) for order, person in enumerate(people)]


def test_turns_alternate_over_people() -> None:
    assert start_order(queue("aaaabbc"), {}) == ["a0", "b4", "c6", "a1", "b5", "a2", "a3"]


def test_who_has_fewer_running_is_next() -> None:
    assert start_order(queue("aab"), {"a": 1}) == ["b2", "a0", "a1"]


def test_among_equals_it_is_whose_last_start_lies_longest_ago() -> None:
    assert start_order(queue("aabb"), {}, {"a": 9, "b": 3}) == ["b2", "a0", "b3", "a1"]


def test_a_person_at_the_limit_does_not_hold_up_the_others() -> None:
    chosen = startable(queue("aaab"), {"a": 2}, per_person=2, in_all=4)
    assert chosen == ["b3"]


def test_the_machines_limit_holds_over_all() -> None:
    assert startable(queue("abcd"), {"x": 2}, per_person=2, in_all=4) == ["a0", "b1"]
    assert startable(queue("a"), {"x": 4}, per_person=2, in_all=4) == []


people = st.text(alphabet="abcd", max_size=30)
running = st.dictionaries(st.sampled_from("abcdx"), st.integers(0, 5))


@given(people, running)
def test_everybody_is_in_the_order_once_and_first_come_first_served_among_ones_own(
    waiting: str, busy: dict[str, int]
) -> None:
    jobs = queue(waiting)
    order = start_order(jobs, busy)
    assert sorted(order) == sorted(job.job for job in jobs)
    for person in "abcd":
        mine = [int(job[1:]) for job in order if job[0] == person]
        assert mine == sorted(mine)


@given(people, running, st.integers(1, 4), st.integers(1, 8))
def test_no_limit_is_ever_passed_and_no_place_is_wasted(
    waiting: str, busy: dict[str, int], per_person: int, in_all: int
) -> None:
    jobs = queue(waiting)
    chosen = startable(jobs, busy, per_person=per_person, in_all=in_all)
    for person in "abcd":
        started = sum(1 for job in chosen if job[0] == person)
        assert started == 0 or started + busy.get(person, 0) <= per_person
    total = sum(busy.values()) + len(chosen)
    assert not chosen or total <= in_all
    if total < in_all:  # what is left waits only because of its person's limit
        for job in jobs:
            if job.job not in chosen:
                started = sum(1 for other in chosen if other[0] == job.person)
                assert started + busy.get(job.person, 0) >= per_person


@given(people)
def test_after_each_round_nobody_is_two_starts_ahead_of_who_still_waits(waiting: str) -> None:
    order = start_order(queue(waiting), {})
    left = {person: waiting.count(person) for person in set(waiting)}
    starts = dict.fromkeys(left, 0)
    for job in order:
        starts[job[0]] += 1
        left[job[0]] -= 1
        for person, still in left.items():
            assert not still or starts[job[0]] - starts[person] <= 1
