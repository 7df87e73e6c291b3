"""However jobs come, end and are reported, an account asks its scheduler at most six times in any minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.jobs.backends.pace import LATEST, MINUTE_SECONDS, PER_MINUTE, SOONEST, Pace

happening = st.tuples(
    st.floats(min_value=0.0, max_value=30.0),  # seconds that pass
    st.sampled_from(["nothing", "nudge", "changed"]),
    st.integers(min_value=0, max_value=1000),  # jobs alive
    st.floats(min_value=0.0, max_value=40.0),  # what a query costs
)


@given(st.lists(happening, max_size=200))
def test_never_more_than_six_in_any_minute_and_none_without_jobs(story: list[tuple[float, str, int, float]]) -> None:
    pace, now, asked = Pace(), 0.0, list[float]()
    for number, (passed, what, live, cost) in enumerate(story):
        now += passed
        if what == "nudge":
            pace = pace.nudge(now)
        if pace.due(now, live):
            assert live
            asked.append(now + number % 5)  # on their way for some seconds, and not all for as long
            pace = pace.was_asked(now, cost, changed=what == "changed")
    for at in asked:
        assert len([other for other in asked if at - 60.0 < other <= at]) <= PER_MINUTE


@given(st.lists(happening, max_size=60))
def test_waiting_as_long_as_it_says_is_enough(story: list[tuple[float, str, int, float]]) -> None:
    pace, now = Pace(), 0.0
    for passed, what, live, cost in story:
        now += passed
        if what == "nudge":
            pace = pace.nudge(now)
        if live:
            later = now + pace.wait(now, live) + 1e-6
            while not pace.due(later, live):  # an interval may have grown while it was waited for
                assert later < now + 2 * LATEST
                later += 1.0
            now = later
            pace = pace.was_asked(now, cost, changed=what == "changed")


def test_it_asks_often_while_things_change_and_seldom_while_nothing_does() -> None:
    pace = Pace().was_asked(0.0, 0.02, changed=True)
    assert pace.interval(60.0) == SOONEST
    assert SOONEST < pace.interval(150.0) < pace.interval(200.0) < LATEST
    assert pace.interval(1000.0) == LATEST


def test_a_slow_scheduler_is_asked_less_and_one_that_forgets_soon_more() -> None:
    assert Pace(cost=6.0, changed_at=0.0).interval(1.0) == 30.0
    assert Pace(forgets_after=60.0).interval(1000.0) == 30.0
    assert Pace(forgets_after=2.0).interval(1000.0) == SOONEST


def test_a_nudge_asks_at_once_unless_six_were_asked_this_minute() -> None:
    pace = Pace().was_asked(0.0, 0.01, changed=True)
    assert not pace.due(1.0, 5)
    assert pace.nudge(1.0).due(1.0, 5)
    for at in range(1, 6):
        pace = pace.was_asked(float(at), 0.01, changed=True)
    assert not pace.nudge(6.0).due(6.0, 5)
    assert pace.nudge(6.0).wait(6.0, 5) == MINUTE_SECONDS - 6.0
    assert pace.nudge(6.0).due(MINUTE_SECONDS, 5)
