"""Starts go to who used least lately, in turns, and nobody starves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.jobs.placement import LONGEST_SECONDS, Line, Waiting, line, startable


def queue(people: str, since: float = 0.0) -> list[Waiting]:
    """`aab` is two jobs of a, then one of b; a job is called by its person and its place."""
    return [
        Waiting(job=f"{person}{order}", person=person, order=order, session=person.upper(), since=since)
        for order, person in enumerate(people)
    ]


def order(people: str, used: dict[str, float] | None = None) -> list[str]:
    return jobs(line(queue(people), used or {}))


def jobs(found: Line) -> list[str]:
    return [each.job for each in found.order]


def test_turns_alternate_over_people_who_used_the_same() -> None:
    assert order("aaaabbc") == ["a0", "b4", "c6", "a1", "b5", "a2", "a3"]


def test_who_used_less_lately_is_next() -> None:
    assert order("aab", {"a": 1, "b": 0.5}) == ["b2", "a0", "a1"]


def test_who_used_much_waits_until_the_others_have_come_to_as_much() -> None:
    assert order("aabbb", {"a": 2}) == ["b2", "b3", "a0", "b4", "a1"]


def test_what_a_job_may_take_is_counted_when_it_starts() -> None:
    large = Waiting(job="large", person="a", order=0, cores=4, seconds=100.0)
    rest = [Waiting(job=f"b{n}", person="b", order=n + 2, cores=1, seconds=100.0) for n in range(5)]
    small = Waiting(job="small", person="a", order=1, cores=1, seconds=100.0)
    found = jobs(line([large, small, *rest], {}))
    assert found == ["large", "b0", "b1", "b2", "b3", "small", "b4"]


def test_between_people_who_used_the_same_it_is_the_session_that_used_less() -> None:
    assert jobs(line(queue("ab"), {}, sessions={"A": 5.0, "B": 1.0})) == ["b1", "a0"]


def test_who_had_no_start_for_a_day_has_the_next_one_whatever_they_used() -> None:
    waiting = queue("aab", since=1000.0)
    used, late = {"a": 1e9, "b": 0.0}, 1000.0 + LONGEST_SECONDS + 1
    assert jobs(line(waiting, used, now=late - 2)) == ["b2", "a0", "a1"]
    started = {"b": late - 10}
    assert jobs(line(waiting, used, now=late, last_started=started)) == ["a0", "b2", "a1"]
    # The start is counted: what else they have waits for its turn again.
    started["a"] = late
    assert jobs(line(waiting[1:], used, now=late + 5, last_started=started)) == ["b2", "a1"]


def test_the_place_in_the_queue_is_told_with_who_goes_first_and_why() -> None:
    found = line(queue("abcc"), {"a": 9, "b": 1, "c": 0.5})
    assert jobs(found) == ["c2", "b1", "c3", "a0"]
    assert found.sentence("c2") == "Next in the queue."
    assert found.sentence("a0") == "4th in the queue: two people who used less lately go first."
    assert found.sentence("c3") == (
        "3rd in the queue: one person takes turns with its owner, and one earlier job of its owner goes first."
    )
    late = line(queue("ab"), {"a": 9, "b": 1}, now=LONGEST_SECONDS + 9, last_started={"b": LONGEST_SECONDS})
    assert late.sentence("b1") == "2nd in the queue: one person without a start for a day goes first."


def test_a_person_at_the_limit_does_not_hold_up_the_others() -> None:
    chosen = startable(line(queue("aaab"), {}).order, {"a": 2}, per_person=2, in_all=4)
    assert chosen == ["b3"]


def test_the_machines_limit_holds_over_all() -> None:
    waiting = line(queue("abcd"), {}).order
    assert startable(waiting, {"x": 2}, per_person=2, in_all=4) == ["a0", "b1"]
    assert startable(waiting[:1], {"x": 4}, per_person=2, in_all=4) == []


people = st.text(alphabet="abcd", max_size=30)
running = st.dictionaries(st.sampled_from("abcdx"), st.integers(0, 5))
uses = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 20))


@given(people, uses)
def test_everybody_is_in_the_order_once_and_first_come_first_served_among_ones_own(
    waiting: str, used: dict[str, float]
) -> None:
    found = order(waiting, used)
    assert sorted(found) == sorted(job.job for job in queue(waiting))
    for person in "abcd":
        mine = [int(job[1:]) for job in found if job[0] == person]
        assert mine == sorted(mine)


@given(people, running, st.integers(1, 4), st.integers(1, 8))
def test_no_limit_is_ever_passed_and_no_place_is_wasted(
    waiting: str, busy: dict[str, int], per_person: int, in_all: int
) -> None:
    chosen = startable(line(queue(waiting), {}).order, busy, per_person=per_person, in_all=in_all)
    for person in "abcd":
        started = sum(1 for job in chosen if job[0] == person)
        assert started == 0 or started + busy.get(person, 0) <= per_person
    total = sum(busy.values()) + len(chosen)
    assert not chosen or total <= in_all
    if total < in_all:  # what is left waits only because of its person's limit
        for job in queue(waiting):
            if job.job not in chosen:
                started = sum(1 for other in chosen if other[0] == job.person)
                assert started + busy.get(job.person, 0) >= per_person


@given(people)
def test_after_each_round_nobody_is_two_starts_ahead_of_who_still_waits(waiting: str) -> None:
    left = {person: waiting.count(person) for person in set(waiting)}
    starts = dict.fromkeys(left, 0)
    for job in order(waiting):
        starts[job[0]] += 1
        left[job[0]] -= 1
        for person, still in left.items():
            assert not still or starts[job[0]] - starts[person] <= 1


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0, 1e12))
def test_a_job_starts_within_a_day_and_a_turn_of_everybody_for_each_of_ones_own_before_it(
    others: int, own: int, used: float
) -> None:
    """The others use nothing and have a new job whenever one of theirs starts; one place is given away each hour."""
    waiting = [Waiting(job=f"me{n}", person="me", order=n) for n in range(own)]
    waiting += [Waiting(job=f"o{n}", person=f"o{n}", order=own + n) for n in range(others)]
    started: dict[str, float] = {}
    hour, bound = 0, own * (24 + others + 2)
    while any(each.person == "me" for each in waiting):
        now = hour * 3600.0
        first = line(waiting, {"me": used + 1}, last_started=started, now=now).order[0]
        waiting.remove(first)
        started[first.person] = now
        if first.person != "me":
            waiting.append(Waiting(job=f"n{hour}", person=first.person, order=own + others + hour, since=now))
        hour += 1
        assert hour <= bound
