"""A deadline and a budget of a whole experiment: refused before it starts, shared out as its nodes' turns come."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput
from hub.core.house import House
from hub.jobs.dry_plan import plan_any
from hub.jobs.plan_tables import job_plans
from hub.jobs.tables import jobs
from hub.orchestrator import running, tools
from hub.orchestrator.tables import experiment_nodes, experiments
from hub.orchestrator.tools import Node, Progress, Run
from hub.web.pages.steps import experiment_says
from tests.actions.cluster_fixtures import account_on, answers
from tests.actions.test_orchestrator import NOTE, ask, carry_on, count, show, states
from tests.conftest import Perform

SCRIPT = "#!/bin/sh\ntrue\n"
# Two core hours: 0.20 on raven, 1.00 on swift.
JOB: dict[str, Any] = {
    "tool": "distributed_collaboration",
    "action": "job_submit",
    "script": SCRIPT,
    "resources": {"nodes": 2, "time": 60},
}


@pytest.fixture(autouse=True)
def _two(house: House, ana: Actor) -> None:
    """A cheap cluster that starts in two hours, and a dear one that starts at once; both have said so."""
    cheap = account_on(house, ana, "raven", price_per_core_hour=0.1)
    dear = account_on(house, ana, "swift", price_per_core_hour=0.5)
    plan_any(house, ana, {"script": SCRIPT, "resources": JOB["resources"]})
    assert (answers(house, cheap, 7200), answers(house, dear, 0)) == (1, 1)


def submitted(house: House) -> list[Any]:
    """(backend, seconds until its deadline when it was submitted, budget) of each job, in their order."""
    query = (
        sa.select(jobs.c.backend, jobs.c.submitted_at, job_plans.c.deadline, job_plans.c.budget)
        .join(job_plans, job_plans.c.job == jobs.c.id)
        .order_by(jobs.c.number)
    )
    with house.db.read() as conn:
        rows = conn.execute(query).all()
    return [
        (row.backend, None if row.deadline is None else (row.deadline - row.submitted_at).total_seconds(), row.budget)
        for row in rows
    ]


def end(house: House, clock: FrozenClock, seconds: float, state: str = "SUCCEEDED") -> None:
    """What runs ran for so long and ended."""
    with house.db.read() as conn:
        began = house.clock.now()
        alive = list(conn.execute(sa.select(jobs.c.id).where(jobs.c.ended_at.is_(None))).scalars())
    clock.advance(seconds)
    values = {"state": state, "started_at": began, "ended_at": began + dt.timedelta(seconds=seconds)}
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id.in_(alive)).values(**values))


def test_a_budget_that_cannot_pay_all_nodes_starts_none_and_names_the_first_it_cannot(
    house: House, ana: Actor, perform: Perform
) -> None:
    with pytest.raises(Conflict) as refused:
        ask(perform, ana, [JOB, NOTE, JOB, JOB], budget=0.5)
    assert (refused.value.code, refused.value.path) == ("over_budget", "$.params.budget")
    assert refused.value.message == (
        "node 4 (job_submit) may cost 0.20 at least, and 0.10 of the experiment's budget of 0.50 is left by the nodes "
        "before it; nothing was submitted"
    )
    account_on(house, ana, "dark", price_per_core_hour=None)
    with pytest.raises(Conflict, match=r"nobody has said what node 1 \(job_submit\) costs, and the experiment has"):
        ask(perform, ana, [{**JOB, "cluster": "dark"}], budget=100)
    for wrong in ({"within": "soon"}, {"budget": -1}):
        with pytest.raises(InvalidInput):
            ask(perform, ana, [JOB], **wrong)
    assert (count(house, experiments), count(house, jobs)) == (0, 0)


def test_each_node_has_its_share_of_the_time_that_is_left_when_its_turn_comes(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    # An hour each: at once on the dear cluster, or two hours later on the cheap one.
    made = ask(perform, ana, [JOB, NOTE, {**JOB, "script": "#!/bin/sh\nfalse\n"}], within="6:00:00")
    carry_on(house, clock)
    assert [(where, round(left)) for where, left, _ in submitted(house)] == [("swift", 10800)]
    end(house, clock, 60)
    carry_on(house, clock)
    [_, second] = submitted(house)
    # It has all that the first one did not use.
    assert second[0] == "raven" and second[1] == pytest.approx(6 * 3600 - 62, abs=2)
    shown = show(house, ana, made["experiment"])
    assert shown.deadline is not None and shown.budget is None
    assert "It is to have ended by" in experiment_says(shown)


def test_a_node_may_spend_what_those_after_it_do_not_need_and_what_it_did_not_spend_is_theirs(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    made = ask(perform, ana, [JOB, JOB], budget=1.0, within="3:00:00")
    carry_on(house, clock)
    assert submitted(house)[0][0] == "raven", "the dear cluster would leave nothing for the second node"
    assert submitted(house)[0][2] == pytest.approx(0.8)
    end(house, clock, 900)
    carry_on(house, clock)
    assert submitted(house)[1][2] == pytest.approx(1.0 - 0.05)
    shown = show(house, ana, made["experiment"])
    assert (shown.budget, shown.comes_to) == (1.0, pytest.approx(0.25))
    assert "It comes to 0.25 at most, of a budget of 1.00." in experiment_says(shown)


def test_what_a_node_asks_for_itself_counts_where_it_is_less(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    ask(perform, ana, [{**JOB, "within": "1:30:00", "budget": 2}], within="9:00:00", budget=1.5)
    carry_on(house, clock)
    [(where, left, budget)] = submitted(house)
    assert where == "swift" and left == pytest.approx(5400)
    assert budget == pytest.approx(1.5)


def test_a_workflow_in_an_experiment_is_counted_with_all_its_steps(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    steps = [{"step": "get", "script": SCRIPT}, {"step": "fit", "script": "made.py", "dependencies": ["get"]}]
    steps[0]["outputs"] = ["made.py"]
    flow = {**JOB, "workflow": [steps[0], {**steps[1], "script": SCRIPT}]}
    del flow["script"]
    with pytest.raises(Conflict, match=r"node 1 \(job_submit\) may cost 0\.40 at least, and 0\.30 of the experiment's"):
        ask(perform, ana, [flow], budget=0.3)
    made = ask(perform, ana, [flow, JOB], budget=0.7, within="30:00:00")
    carry_on(house, clock)
    assert sum(budget for _, _, budget in submitted(house)) == pytest.approx(0.5)
    assert show(house, ana, made["experiment"]).comes_to == pytest.approx(0.4)


def test_a_script_that_a_node_before_will_make_is_counted_by_what_is_asked_beside_it(
    house: House, ana: Actor, perform: Perform
) -> None:
    later = {**JOB, "script": "made_later.sh"}
    with pytest.raises(Conflict, match=r"node 2 \(job_submit\) may cost 0\.20 at least"):
        ask(perform, ana, [JOB, later], budget=0.3)
    assert states(show(house, ana, ask(perform, ana, [JOB, later], budget=0.4)["experiment"]))[0] == "RUNNING"


def test_a_node_is_not_tried_again_beyond_the_budget_and_its_failed_tries_count(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    made = ask(perform, ana, [{**JOB, "retries": 3, "cluster": "raven"}], budget=0.5)
    for _ in range(2):
        carry_on(house, clock)
        end(house, clock, 3600, "FAILED")
        carry_on(house, clock)
        clock.advance(60)
    shown = show(house, ana, made["experiment"])
    assert len(submitted(house)) == 2, "the third try could cost 0.20, and 0.10 is left"
    assert states(shown) == ["FAILED", "FAILED"]
    assert "may cost 0.20, and 0.10 of the experiment's budget of 0.50 is left" in shown.nodes[0].words
    assert shown.comes_to == pytest.approx(0.4)


def test_a_try_is_begun_again_with_the_very_terms_it_began_with(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed between the submission and its note finds the job it made, though less time is left by then."""
    made = ask(perform, ana, [JOB], within="9:00:00", budget=1)

    def killed(*_: Any, **__: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(running, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            carry_on(house, clock)
    assert len(submitted(house)) == 1
    clock.advance(60)
    carry_on(house, clock)
    assert states(show(house, ana, made["experiment"])) == ["RUNNING", "RUNNING"]
    assert len(submitted(house)) == 1


def test_nodes_that_stand_from_an_earlier_run_cost_the_next_one_nothing(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    first = ask(perform, ana, [JOB, {**JOB, "args": ["2"]}], budget=1)
    carry_on(house, clock)
    end(house, clock, 3600)
    carry_on(house, clock)
    end(house, clock, 3600, "FAILED")
    carry_on(house, clock)
    assert states(show(house, ana, first["experiment"])) == ["FAILED", "SUCCEEDED", "FAILED"]
    again = ask(perform, ana, None, resume=first["experiment"], budget=0.25)
    assert (again["budget"], again["comes_to"]) == (0.25, 0)
    carry_on(house, clock)
    assert show(house, ana, again["experiment"]).comes_to == pytest.approx(0.2)
    assert submitted(house)[2][2] == pytest.approx(0.25)


def test_a_tool_that_submits_nothing_counts_for_nothing_and_is_told_what_is_left_of_nothing(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tools.Terms] = []

    class Optics:
        def lacks(self, node: Node, scope: Any) -> list[str]:
            return []

        def begin(self, node: Node, run: Run, house: House) -> Progress:
            told.append(run.terms)
            return Progress(state="SUCCEEDED")

        def look(self, node: Node, progress: Progress, house: House) -> Progress:
            return progress

    monkeypatch.setitem(tools.TOOLS, "optics", Optics())
    made = ask(perform, ana, [{"tool": "optics", "action": "trace"}, JOB], budget=0.2, within=600)
    carry_on(house, clock)
    assert told == [tools.Terms()]
    assert states(show(house, ana, made["experiment"])) == ["RUNNING", "SUCCEEDED", "RUNNING"]
    with house.db.read() as conn:
        kept = list(conn.execute(sa.select(experiment_nodes.c.terms).order_by(experiment_nodes.c.place)).scalars())
    assert kept[0] == {"within": None, "budget": None} and kept[1]["budget"] == pytest.approx(0.2)
