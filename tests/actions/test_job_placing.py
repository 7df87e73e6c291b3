"""Where `auto` puts a job: shown before, decided by price, start, deadline and budget, and kept with its reason."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotAllowed
from hub.core.house import House
from hub.jobs import views
from hub.jobs.dry_plan import plan_job
from hub.jobs.plan_tables import job_plans, start_estimates
from hub.jobs.plans import PlanView
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger, ledger_bodies
from tests.actions.cluster_fixtures import account_on, answers
from tests.actions.notebook_fixtures import grant
from tests.conftest import Perform

SCRIPT = "#!/bin/sh\ntrue\n"
TWO_NODES = {"nodes": 2, "time": 60}


def job_of(house: House, actor: Actor, ref: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, ref)


def plan(house: House, who: Actor, **params: Any) -> PlanView:
    return plan_job(house, who, {"script": SCRIPT, **params})


def count(house: House, table: sa.Table) -> int:
    with house.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


@pytest.fixture
def two(house: House, ana: Actor) -> dict[str, str]:
    """Ana's accounts on a cheap cluster and a dear one."""
    return {
        "raven": account_on(house, ana, "raven", price_per_core_hour=0.1),
        "swift": account_on(house, ana, "swift", price_per_core_hour=0.5),
    }


def test_the_table_is_shown_without_recording_a_job_and_fills_as_schedulers_answer(
    house: House, ana: Actor, two: dict[str, str]
) -> None:
    first = plan(house, ana, resources=TWO_NODES)
    assert (first.chosen, first.asking) == ("raven", ("raven", "swift"))
    assert [answers(house, two["raven"], 7200), answers(house, two["swift"], 0)] == [1, 1]
    then = plan(house, ana, resources=TWO_NODES)
    assert then.asking == ()
    told = [(each.backend, each.starts_in, each.ends_in, each.cost, each.why) for each in then.candidates]
    assert told == [
        ("raven", 7200, 10800, 0.2, "the cheapest"),
        ("swift", 0, 3600, 1.0, "it costs 1.00 instead of 0.20"),
        ("local", None, None, 0.0, "resources.nodes is more than one, and there is one machine here"),
    ]
    assert (then.cores, then.wall_seconds, then.wall_assumed, then.currency) == (2, 3600, False, "EUR")
    assert count(house, jobs) == count(house, job_plans) == 0


@pytest.mark.parametrize(("name", "backend", "most"), [("raven", "raven", 0.2), ("swift", "swift", 1.0)])
def test_a_place_that_was_named_is_taken_at_its_price_and_no_other_is_looked_at(
    house: House, ana: Actor, perform: Perform, two: dict[str, str], name: str, backend: str, most: float
) -> None:
    answers(house, two["swift"], 0)
    asked: list[str] = []
    engine = house.db.write_engine
    note = lambda conn, cursor, statement, *rest: asked.append(statement)  # noqa: E731
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        made = perform(ana, "job_submit", script=SCRIPT, cluster=name, resources=TWO_NODES)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    with house.db.read() as conn:
        kept = conn.execute(sa.select(job_plans).where(job_plans.c.job == made["id"])).one()
    assert (made["backend"], kept.cores, kept.core_hour) == (backend, 2, most / 2)
    assert kept.offers is None and kept.why == ""
    others = ("start_estimates", "kubernetes_clusters", "max(jobs.ended_at")
    assert asked and not [each for each in asked if any(other in each for other in others)]
    with pytest.raises(Conflict, match="the budget is"):
        perform(ana, "job_submit", script=SCRIPT, cluster=name, resources=TWO_NODES, budget=0.1)


def test_a_deadline_is_met_for_more_money_and_the_choice_is_kept_with_its_reason(
    house: House, ana: Actor, perform: Perform, two: dict[str, str]
) -> None:
    plan(house, ana, resources=TWO_NODES)
    answers(house, two["raven"], 7200)
    answers(house, two["swift"], 0)
    assert plan(house, ana, resources=TWO_NODES, within=120).chosen == "swift"
    made = perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, within=120, agreed="swift")
    seen = job_of(house, ana, made["id"])
    assert (seen.backend, seen.job_type) == ("swift", "auto")
    assert seen.placed is not None
    assert seen.placed.why == "the cheapest that meets the deadline"
    assert [each.backend for each in seen.placed.candidates] == ["swift", "raven", "local"]
    now = house.clock.now()
    assert seen.placed.deadline is not None and (seen.placed.deadline - now).total_seconds() == 7200
    assert seen.placed.ends_at is not None and (seen.placed.ends_at - now).total_seconds() == 3600
    with house.db.read() as conn:
        query = sa.select(ledger_bodies.c.bytes).join(ledger, ledger.c.line == ledger_bodies.c.line)
        [line] = conn.execute(query.where(ledger.c.object == made["id"])).scalars()
    facts = json.loads(line)["facts"]
    assert (facts["placed"], facts["cost"], facts["of"]) == (two["swift"], 1.0, 3)


def test_an_hour_of_a_gpu_has_a_price_of_its_own_that_decides_where_one_is_asked_for(
    house: House, ana: Actor, perform: Perform, two: dict[str, str]
) -> None:
    account_on(house, ana, "heron", price_per_core_hour=0.9, price_per_gpu_hour=0.5)
    account_on(house, ana, "grebe", price_per_core_hour=0.01, price_per_gpu_hour=None)
    assert plan(house, ana, resources=TWO_NODES).chosen == "grebe"
    shown = plan(house, ana, resources={**TWO_NODES, "gpus": 2})
    assert (shown.chosen, shown.cores, shown.gpus) == ("heron", 2, 4)
    told = {each.backend: (each.cost, each.why) for each in shown.candidates}
    assert told["heron"] == (pytest.approx(2 * 0.9 + 4 * 0.5), "the cheapest")
    assert told["raven"] == (pytest.approx(2 * 0.1 + 4 * 1.0), "it costs 4.20 instead of 3.80")
    assert told["grebe"] == (None, "nobody has said what it costs")
    with pytest.raises(Conflict, match=r"heron: it may cost 3\.80, the budget is 3\.70"):
        perform(ana, "job_submit", script=SCRIPT, resources={**TWO_NODES, "gpus": 2}, budget=3.7)


def test_a_place_that_is_no_longer_the_one_shown_is_refused_and_nothing_is_recorded(
    house: House, ana: Actor, perform: Perform, two: dict[str, str]
) -> None:
    with pytest.raises(Conflict, match="it would now go to raven and not to swift") as caught:
        perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, agreed="swift")
    assert (caught.value.code, caught.value.path) == ("plan_changed", "$.params.agreed")
    assert count(house, jobs) == 0
    assert perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, agreed="raven")["backend"] == "raven"


def test_a_budget_that_no_place_keeps_is_refused_with_every_place_named(
    house: House, ana: Actor, perform: Perform, two: dict[str, str]
) -> None:
    with pytest.raises(Conflict, match="there is no place for this job") as caught:
        perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, budget=0.1)
    assert caught.value.code == "no_place"
    assert [each.partition(":")[0] for each in caught.value.errors] == ["local", "raven", "swift"]
    assert perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, budget=0.2)["backend"] == "raven"
    with pytest.raises(Conflict, match=r"swift: it may cost 1\.00, the budget is 0\.50"):
        perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, budget=0.5, cluster="swift")


def test_what_a_scheduler_refuses_and_what_does_not_answer_are_passed_over(
    house: House, ana: Actor, perform: Perform, two: dict[str, str]
) -> None:
    plan(house, ana, resources=TWO_NODES)
    answers(house, two["raven"], refusal="Requested node configuration is not available")
    shown = plan(house, ana, resources=TWO_NODES)
    assert shown.chosen == "swift"
    whys = {each.backend: each.why for each in shown.candidates}
    assert whys["raven"] == "Requested node configuration is not available"
    assert perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES)["backend"] == "swift"


def test_this_machine_is_taken_where_it_costs_nothing_and_the_cluster_where_it_does(
    house: House, ana: Actor, perform: Perform, two: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert perform(ana, "job_submit", script=SCRIPT)["backend"] == "local"
    monkeypatch.setattr(house, "settings", msgspec.structs.replace(house.settings, price_core_hour=0.2))
    assert perform(ana, "job_submit", script=SCRIPT)["backend"] == "raven"
    assert perform(ana, "job_submit", script=SCRIPT, job_type="local")["backend"] == "local"


def test_a_queue_here_is_counted_by_its_time_limits(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    account_on(house, ana, "raven", price_per_core_hour=0.0)
    for _ in range(2):
        perform(ana, "job_submit", script=SCRIPT, job_type="local", resources={"time": 90})
    [here] = [each for each in plan(house, ana).candidates if each.backend == "local"]
    assert here.starts_in == 5400
    [his] = [each for each in plan(house, ben).candidates if each.backend == "local"]
    assert his.starts_in == 0


def test_options_in_the_script_count_for_what_a_cluster_costs(house: House, ana: Actor, two: dict[str, str]) -> None:
    script = "#!/bin/sh\n#SBATCH -N 4 --ntasks-per-node=8 -t 30\ntrue\n"
    shown = plan(house, ana, script=script, job_type="slurm", cluster="raven")
    assert (shown.chosen, shown.cores, shown.wall_seconds) == ("raven", 32, 1800)
    assert shown.candidates[0].cost == pytest.approx(1.6)


def test_what_ran_before_tells_how_long_it_takes(
    house: House, ana: Actor, perform: Perform, two: dict[str, str], clock: FrozenClock
) -> None:
    made = perform(ana, "job_submit", script=SCRIPT, resources=TWO_NODES, cluster="raven")["id"]
    now = clock.now()
    clock.advance(600)
    ended = {"state": "SUCCEEDED", "started_at": now, "ended_at": clock.now()}
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == made).values(**ended)))
    [raven] = [each for each in plan(house, ana, resources=TWO_NODES).candidates if each.backend == "raven"]
    assert (raven.cost, raven.most) == (pytest.approx(0.2 / 6), pytest.approx(0.2))


def test_nobody_is_placed_on_anothers_account(house: House, ben: Actor, two: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="more than one"):
        plan(house, ben, resources=TWO_NODES)
    assert [each.backend for each in plan(house, ben).candidates] == ["local"]


def test_a_scheduler_is_asked_of_no_more_than_a_few_jobs_at_once(
    house: House, ana: Actor, clock: FrozenClock, two: dict[str, str]
) -> None:
    for minutes in range(1, 20):
        plan(house, ana, resources={"nodes": 2, "time": minutes})
    assert count(house, start_estimates) == 12
    assert answers(house, two["raven"], 60) == 6
    assert answers(house, two["raven"], 60) == 0
    plan(house, ana, resources={"nodes": 2, "time": 1})
    assert answers(house, two["raven"], 60) == 0, "what was answered a moment ago is not asked again"
    clock.advance(121)
    plan(house, ana, resources={"nodes": 2, "time": 1})
    assert answers(house, two["raven"], 60) == 1
    clock.advance(7200)
    plan(house, ana, resources={"nodes": 2, "time": 5})
    assert count(house, start_estimates) == 2, "what is old is thrown away"


@pytest.mark.parametrize(
    ("params", "error", "path"),
    [
        ({"workflow": [{"step": "a", "script": SCRIPT}], "script": None}, InvalidInput, "$.params.workflow"),
        ({"within": "soon"}, InvalidInput, "$.params.within"),
        ({"budget": -1}, InvalidInput, "$.params.budget"),
        ({"colour": "red"}, InvalidInput, "$.params"),
        ({"script": "nope.py"}, InvalidInput, "$.params.script"),
    ],
)
def test_a_question_that_cannot_be_understood_names_its_field(
    house: House, ana: Actor, params: dict[str, Any], error: type[HubError], path: str
) -> None:
    body = {key: value for key, value in {"script": SCRIPT, **params}.items() if value is not None}
    with pytest.raises(error) as caught:
        plan_job(house, ana, body)
    assert caught.value.path.startswith(path)


def test_who_may_not_submit_may_not_ask(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    session = str(perform(ana, "session_create", name="open", title="Open")["session"])
    grant(house, session, ben, "read")
    with pytest.raises(NotAllowed):
        plan(house, ben, session_id="ana/open")
