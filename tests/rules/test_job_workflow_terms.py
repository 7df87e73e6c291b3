"""A deadline is shared out along the critical path, and no step spends what the others need."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.jobs import workflow_terms
from hub.jobs.workflow_terms import CannotPay

HOUR = 3600.0
DIAMOND = {"get": (), "fit": ("get",), "plot": ("get",), "tell": ("fit", "plot")}
SECONDS = {"get": HOUR, "fit": 3 * HOUR, "plot": HOUR, "tell": HOUR}


def test_the_critical_path_is_the_longest_way_through() -> None:
    path = workflow_terms.critical_path(SECONDS, DIAMOND)
    assert (path.steps, path.seconds) == (("get", "fit", "tell"), 5 * HOUR)
    assert path.left == {"get": 4 * HOUR, "fit": HOUR, "plot": HOUR, "tell": 0.0}


def test_steps_beside_the_critical_path_have_all_the_time_it_leaves_them() -> None:
    ends = workflow_terms.ends_by(10 * HOUR, workflow_terms.critical_path(SECONDS, DIAMOND))
    assert ends == {"get": 2 * HOUR, "fit": 8 * HOUR, "plot": 8 * HOUR, "tell": 10 * HOUR}
    windows = {step: workflow_terms.window(step, ends, DIAMOND) / HOUR for step in DIAMOND}
    assert windows == {"get": 2, "fit": 6, "plot": 6, "tell": 2}


def test_a_step_that_is_no_more_waited_for_is_not_on_the_path() -> None:
    left = {"tell": ("fit", "plot"), "plot": ("get",)}
    path = workflow_terms.critical_path(SECONDS, left)
    assert (path.steps, path.seconds) == (("plot", "tell"), 2 * HOUR)
    ends = workflow_terms.ends_by(4 * HOUR, path)
    assert workflow_terms.window("tell", ends, left) == 2 * HOUR


def test_the_step_that_the_rest_cannot_pay_is_named_with_what_is_left() -> None:
    least = {"get": 1.0, "fit": 3.0, "tell": 2.0}
    assert workflow_terms.allowances(7.0, least, list(least)) == {"get": 2.0, "fit": 4.0, "tell": 3.0}
    with pytest.raises(CannotPay) as caught:
        workflow_terms.allowances(5.5, least, list(least))
    assert caught.value.step == "tell"
    assert str(caught.value) == (
        "step tell may cost 2.00 at least, and 1.50 of the workflow's budget of 5.50 is left by the steps before it"
    )
    with pytest.raises(CannotPay, match="nobody has said what step fit costs"):
        workflow_terms.allowances(5.5, least | {"fit": None}, list(least))


def test_a_try_is_paid_by_what_is_left_or_refused_in_words() -> None:
    assert workflow_terms.unpaid(3.0, 1.0, 2.0) == ""
    said = "Not tried again: it may cost 2.00, and 0.50 of the workflow's budget of 3.00 is left."
    assert workflow_terms.unpaid(3.0, 2.5, 2.0) == said


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    many = draw(st.integers(1, 12))
    return {
        f"s{n}": tuple(f"s{m}" for m in sorted(draw(st.sets(st.integers(0, n - 1), max_size=3)))) if n else ()
        for n in range(many)
    }


@given(graphs(), st.data(), st.floats(60, 1e6))
def test_who_keeps_their_share_keeps_the_deadline_and_a_share_is_never_less_than_the_steps_part(
    after: dict[str, tuple[str, ...]], data: st.DataObject, within: float
) -> None:
    seconds = {step: data.draw(st.floats(1, 1e5)) for step in after}
    path = workflow_terms.critical_path(seconds, after)
    ends = workflow_terms.ends_by(within, path)
    assert max(ends.values()) == pytest.approx(within)
    assert path.seconds == pytest.approx(sum(seconds[step] for step in path.steps))
    stretch = within / path.seconds
    for step in after:
        assert workflow_terms.window(step, ends, after) >= seconds[step] * stretch * (1 - 1e-6) - 1e-6


@given(graphs(), st.randoms())
def test_each_step_comes_once_and_behind_what_it_waits_for(after: dict[str, tuple[str, ...]], chance: object) -> None:
    steps = list(after)
    chance.shuffle(steps)  # type: ignore[attr-defined]
    order = workflow_terms.in_order({step: after[step] for step in steps})
    assert sorted(order) == sorted(after)
    assert all(order.index(before) < order.index(step) for step in after for before in after[step])


@example({"a": 5e-324}, 0.5)  # whose product with the budget is nothing
@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100), min_size=1), st.floats(0, 1000))
def test_the_steps_own_budgets_are_together_the_whole(most: dict[str, float], budget: float) -> None:
    assert sum(workflow_terms.shares(budget, most).values()) == pytest.approx(budget)
