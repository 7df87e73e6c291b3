"""A deadline and a budget of a whole workflow: told before, kept by its steps, refused before anything is recorded."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor, Context
from hub.core.errors import Conflict, InvalidInput
from hub.core.house import House
from hub.core.steps import steps as step_table
from hub.jobs import rules, sandbox, transitions, views
from hub.jobs.dry_plan import plan_any
from hub.jobs.plan_tables import job_plans
from hub.jobs.step_tables import workflow_steps
from hub.jobs.tables import jobs, workflows
from hub.jobs.workflow_plans import WorkflowPlanView
from hub.perform import record
from hub.web.pages.steps import of_workflow
from tests.actions.cluster_fixtures import account_on, answers
from tests.conftest import Perform
from tests.jobs import run_steps, run_until

SCRIPT = "#!/bin/sh\ntrue\n"
CHAIN: list[dict[str, Any]] = [
    {"step": "get", "script": SCRIPT},
    {"step": "fit", "script": SCRIPT, "dependencies": ["get"]},
    {"step": "tell", "script": SCRIPT, "dependencies": ["fit"]},
]
# Two core hours each: 0.20 on raven, 1.00 on swift.
WISH: dict[str, Any] = {"workflow": CHAIN, "resources": {"nodes": 2, "time": 60}}


@pytest.fixture
def two(house: House, ana: Actor) -> None:
    """A cheap cluster that starts in two hours, and a dear one that starts at once; both have said so."""
    cheap = account_on(house, ana, "raven", price_per_core_hour=0.1)
    dear = account_on(house, ana, "swift", price_per_core_hour=0.5)
    plan_any(house, ana, WISH)
    assert (answers(house, cheap, 7200), answers(house, dear, 0)) == (1, 1)


def table(house: House, who: Actor, **more: Any) -> WorkflowPlanView:
    found = plan_any(house, who, {**WISH, **more})
    assert isinstance(found, WorkflowPlanView)
    return found


def where(found: WorkflowPlanView) -> list[str]:
    return [each.backend for each in found.steps]


def counts(house: House) -> list[int]:
    with house.db.read() as conn:
        return [
            int(conn.execute(sa.select(sa.func.count()).select_from(each)).scalar_one())
            for each in (jobs, workflows, job_plans, workflow_steps)
        ]


def test_the_table_shows_the_sum_and_the_critical_path_and_records_nothing(house: House, ana: Actor, two: None) -> None:
    found = table(house, ana, within="15:00:00", budget=3)
    assert (found.cost, found.most) == (pytest.approx(0.6), pytest.approx(0.6))
    assert (found.critical_path, found.critical_seconds) == (("get", "fit", "tell"), 3 * 3600)
    assert (found.within, found.budget, found.in_time, found.asking) == (54000, 3, True, ())
    assert where(found) == ["raven", "raven", "raven"]
    assert [each.ends_within for each in found.steps] == [18000, 36000, 54000]
    assert counts(house) == [0, 0, 0, 0]


def test_the_deadline_decides_where_each_step_goes_by_its_share_and_the_budget_how_many_may_hurry(
    house: House, ana: Actor, two: None
) -> None:
    assert where(table(house, ana, within="04:00:00")) == ["swift", "swift", "swift"]
    hurried = table(house, ana, within="04:00:00", budget=2)
    assert where(hurried) == ["swift", "raven", "raven"]
    assert hurried.most == pytest.approx(1.4) and hurried.in_time is False
    assert where(table(house, ana)) == ["raven", "raven", "raven"]


def test_a_step_that_the_rest_of_the_budget_cannot_pay_is_refused_and_nothing_is_submitted(
    house: House, perform: Perform, ana: Actor, two: None
) -> None:
    with pytest.raises(Conflict) as caught:
        perform(ana, "job_submit", **WISH, budget=0.5)
    assert (caught.value.code, caught.value.path) == ("over_budget", "$.params.budget")
    assert caught.value.message == (
        "step tell may cost 0.20 at least, and 0.10 of the workflow's budget of 0.50 is left by the steps before it; "
        "nothing was submitted"
    )
    with pytest.raises(Conflict, match="step tell may cost"):
        plan_any(house, ana, {**WISH, "budget": 0.5})
    with pytest.raises(InvalidInput):
        perform(ana, "job_submit", **WISH, within="soon")
    assert counts(house) == [0, 0, 0, 0]


def test_a_place_that_was_named_keeps_the_budget_as_well(house: House, perform: Perform, ana: Actor, two: None) -> None:
    with pytest.raises(Conflict, match=r"step fit may cost 1\.00 at least"):
        perform(ana, "job_submit", **WISH, cluster="swift", budget=1.5)
    account_on(house, ana, "dark", price_per_core_hour=None)
    with pytest.raises(Conflict, match="nobody has said what step get costs, and the workflow has a budget"):
        perform(ana, "job_submit", **WISH, cluster="dark", budget=100)
    assert counts(house) == [0, 0, 0, 0]


def test_what_is_submitted_keeps_its_share_and_the_whole_is_told(
    house: House, perform: Perform, ana: Actor, two: None
) -> None:
    made = perform(ana, "job_submit", **WISH, within="04:00:00", budget=2)
    with house.db.read() as conn:
        plans = conn.execute(
            sa.select(jobs.c.backend, job_plans.c.deadline, job_plans.c.budget)
            .join(job_plans, job_plans.c.job == jobs.c.id)
            .order_by(jobs.c.number)
        ).all()
    now = house.clock.now()
    assert [each.backend for each in plans] == ["swift", "raven", "raven"]
    assert [(each.deadline - now).total_seconds() for each in plans] == pytest.approx([4800, 9600, 14400], abs=1e-3)
    assert sum(each.budget for each in plans) == pytest.approx(2)
    with house.scope(ana) as scope:
        view = views.workflow(scope, made["workflow"])
    assert (view.deadline, view.budget) == (now + dt.timedelta(hours=4), 2)
    assert view.comes_to == pytest.approx(1.4)
    said = of_workflow(view).says
    assert said == (
        "None of three steps done. It comes to 1.40 at most, of a budget of 2.00. "
        "It is to have ended by 1 Jun 2024, 16:00 UTC."
    )


def test_the_place_of_a_step_is_watched_from_when_it_can_start_and_thought_over_when_it_does_not(
    house: House, perform: Perform, ana: Actor, two: None, clock: FrozenClock
) -> None:
    chain = {**WISH, "workflow": CHAIN[:2]}
    perform(ana, "job_submit", **chain)
    run_steps(house)
    with house.db.read() as conn:
        first, second = conn.execute(sa.select(jobs.c.id).order_by(jobs.c.number)).scalars()

    def thoughts_of(job: str) -> list[dt.datetime]:
        with house.db.read() as conn:
            to_come = sa.select(step_table.c.due_at).where(
                step_table.c.kind == "think_again", step_table.c.done_at.is_(None)
            )
            return list(conn.execute(to_come.where(step_table.c.object == job)).scalars())

    assert len(thoughts_of(first)) == 1 and thoughts_of(second) == []
    clock.advance(5 * 3600)
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == first).values(state="COLLECTING")))

    def ends(ctx: Context) -> None:
        job = transitions.lock(ctx, first)
        assert job is not None
        transitions.happen(ctx, job, "succeeded", ended_at=ctx.now)

    record(house, transitions.OBSERVED, ends)
    with house.db.read() as conn:
        promised = conn.execute(sa.select(job_plans.c.ends_at).where(job_plans.c.job == second)).scalar_one()
    assert promised is None, "what was promised at its submission did not count the step before it"
    assert thoughts_of(second) == [house.clock.now() + dt.timedelta(hours=2, minutes=10)]


def test_a_resumed_workflow_has_terms_of_its_own(house: House, perform: Perform, ana: Actor, two: None) -> None:
    made = perform(ana, "job_submit", **WISH, cluster="raven", budget=2)
    now = house.clock.now()
    ended = sa.update(jobs).values(state="FAILED", started_at=now, ended_at=now)
    house.db.write(lambda tx: tx.execute(ended))
    before = counts(house)
    with pytest.raises(Conflict, match="step tell may cost"):
        perform(ana, "workflow_resume", workflow=made["workflow"], budget=0.5)
    assert counts(house) == before
    again = perform(ana, "workflow_resume", workflow=made["workflow"], budget=0.7, within="20:00:00")
    assert (again["budget"], again["comes_to"]) == (0.7, pytest.approx(0.6))


def test_a_workflow_without_terms_is_placed_as_before(perform: Perform, ana: Actor, two: None) -> None:
    made = perform(ana, "job_submit", **WISH)
    assert (made["deadline"], made["budget"], made["comes_to"]) == (None, None, None)


@pytest.mark.parametrize(("budget", "tries"), [(2.5, 2), (1.5, 1)])
def test_a_step_is_tried_again_only_while_the_rest_of_the_budget_pays_it(
    house: House, perform: Perform, ana: Actor, monkeypatch: pytest.MonkeyPatch, budget: float, tries: int
) -> None:
    monkeypatch.setattr(sandbox, "works", lambda: False)
    steps = [
        {"step": "shaky", "script": "#!/bin/sh\nexit 3\n", "retries": 1},
        {"step": "after", "script": SCRIPT, "dependencies": ["shaky"]},
    ]
    wish = {"workflow": steps, "job_type": "local", "resources": {"time": 60}}
    made = perform(ana, "job_submit", **wish)
    with house.db.read() as conn:
        ids = conn.execute(sa.select(jobs.c.id)).scalars().all()
    # This machine costs 1 an hour here; each step may come to that.
    house.db.write(lambda tx: tx.execute(sa.update(job_plans).where(job_plans.c.job.in_(ids)).values(core_hour=1.0)))
    house.db.write(lambda tx: tx.execute(sa.update(workflows).values(budget=budget)))

    def is_over() -> bool:
        with house.scope(ana) as scope:
            return all(each.state in rules.TERMINAL for each in views.workflow(scope, made["workflow"]).steps)

    run_until(house, is_over)
    with house.db.read() as conn:
        rows = conn.execute(sa.select(jobs).order_by(jobs.c.number)).all()
        planned = set(conn.execute(sa.select(job_plans.c.job)).scalars())
    shaky = [row for row in rows if row.step == "shaky"]
    assert len(shaky) == tries
    assert {row.id for row in rows} <= planned  # a try counts for quotas like any job
    last = shaky[-1].notes[-1] if shaky[-1].notes else ""
    assert last.startswith("Not tried again: it may cost 1.00") == (tries == 1)
