"""What sessions' jobs used and cost, and how busy the hub is: sums of the database against sums by hand."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import InvalidInput, NotFound
from hub.core.house import House
from hub.jobs import economy, prices, usage
from hub.jobs.plan_tables import job_plans
from hub.jobs.tables import jobs
from tests.actions.cluster_fixtures import PaperCluster, account_on
from tests.actions.notebook_fixtures import grant
from tests.conftest import Perform

SCRIPT = "#!/bin/sh\ntrue\n"


def a_class(house: House, perform: Perform, ana: Actor, ben: Actor) -> str:
    session = str(perform(ana, "session_create", name="physics", title="Physics")["session"])
    grant(house, session, ben, "student")
    return session


def ran(
    house: House, perform: Perform, who: Actor, session: str, hours: float, state: str = "SUCCEEDED", **more: Any
) -> str:
    """A job that waited six minutes and then ran for so long."""
    cpus = more.get("resources", {}).get("cpus_per_node", 1)
    made = perform(who, "job_submit", session_id=session, job_type="local", script=SCRIPT)["id"]
    cores = sa.update(job_plans).where(job_plans.c.job == made).values(cores=cpus)
    house.db.write(lambda tx: tx.execute(cores))
    now = house.clock.now()
    values = {
        "state": state,
        "queued_at": now,
        "started_at": now + dt.timedelta(minutes=6),
        "ended_at": now + dt.timedelta(minutes=6, hours=hours),
        **more,
    }
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == made).values(**values)))
    return str(made)


def used(house: House, actor: Actor, session: str, days: int = 30) -> usage.UsageView:
    with house.scope(actor) as scope:
        return usage.session_usage(scope, session, days)


def test_a_class_sees_jobs_hours_and_cost_of_each_of_its_people(
    house: House, ana: Actor, ben: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "settings", msgspec.structs.replace(house.settings, price_core_hour=0.1))
    session = a_class(house, perform, ana, ben)
    ran(house, perform, ana, session, 2)
    ran(house, perform, ben, session, 3, "FAILED", resources={"cpus_per_node": 4})
    ran(house, perform, ben, session, 1, "CANCELLED")
    view = used(house, ben, session)
    assert [each.person.handle for each in view.people] == ["ben", "ana"]
    sums = view.people[0].sums
    assert (sums.jobs, sums.failed, sums.alive) == (2, 1, 0)
    assert sums.core_hours == pytest.approx(13)
    assert sums.cost == pytest.approx(1.3)
    assert sums.waited_seconds == pytest.approx(360)
    assert view.total.core_hours == pytest.approx(15)
    assert [(each.backend, each.sums.jobs) for each in view.backends] == [("local", 3)]
    assert [each.name for each in view.sessions] == ["ana/physics"]


def test_a_job_that_runs_counts_until_now_and_one_that_waits_counts_nothing(
    house: House, clock: FrozenClock, ana: Actor, ben: Actor, perform: Perform
) -> None:
    session = a_class(house, perform, ana, ben)
    began = house.clock.now()
    ran(house, perform, ana, session, 0, "RUNNING", started_at=began, ended_at=None)
    perform(ana, "job_submit", session_id=session, job_type="local", script=SCRIPT)
    clock.advance(5400)
    total = used(house, ana, session).total
    assert (total.jobs, total.alive, total.started) == (2, 2, 1)
    assert total.core_hours == pytest.approx(1.5)


def test_a_cost_is_unknown_as_soon_as_one_part_of_it_is(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    session = a_class(house, perform, ana, ben)
    ran(house, perform, ana, session, 1)
    assert used(house, ana, session).total.cost == 0
    ran(house, perform, ana, session, 1, backend="elsewhere")
    view = used(house, ana, session)
    assert view.total.cost is None
    assert {each.backend: each.sums.cost for each in view.backends} == {"local": 0, "elsewhere": None}


def test_sums_agree_with_the_jobs_one_by_one(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    session = a_class(house, perform, ana, ben)
    for i in range(12):
        ran(house, perform, (ana, ben)[i % 2], session, i / 3, resources={"cpus_per_node": 1 + i % 3})
    with house.scope(ana) as scope:
        price = prices.of(scope)["local"]
        whole = [
            economy.cost(
                economy.Held(row.resources["cpus_per_node"]), (row.ended_at - row.started_at).total_seconds(), price
            )
            for row in scope.execute(sa.select(jobs).where(jobs.c.session == session))
        ]
    view = used(house, ana, session)
    assert view.total.core_hours == pytest.approx(sum(each.core_hours for each in whole))
    assert sum(each.sums.core_hours for each in view.people) == pytest.approx(view.total.core_hours)


def test_only_the_term_counts_and_it_has_bounds(
    house: House, clock: FrozenClock, ana: Actor, ben: Actor, perform: Perform
) -> None:
    session = a_class(house, perform, ana, ben)
    ran(house, perform, ana, session, 1)
    clock.advance(8 * 86400)
    assert used(house, ana, session, 7).total == usage.Sums()
    assert used(house, ana, session, 9).total.jobs == 1
    for days in (0, -1, 367):
        with pytest.raises(InvalidInput, match="days"):
            used(house, ana, session, days)


def test_nobody_sees_the_use_of_a_session_they_take_no_part_in(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    session = str(perform(ana, "session_create", name="own", title="Own")["session"])
    ran(house, perform, ana, session, 1)
    with pytest.raises(NotFound):
        used(house, ben, session)
    with house.scope(ben) as scope:
        assert usage.usage(scope).total == usage.Sums()
    with house.scope(ana) as scope:
        assert usage.usage(scope).total.jobs == 1


def test_the_number_of_queries_does_not_grow_with_the_number_of_jobs(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    session = a_class(house, perform, ana, ben)
    few = _queries(house, ana, session)
    for i in range(25):
        ran(house, perform, (ana, ben)[i % 2], session, 1, resources={"cpus_per_node": 1 + i % 5})
    assert _queries(house, ana, session) <= few + 2  # the people's names, and the session's


def _queries(house: House, ana: Actor, session: str) -> int:
    seen: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        used(house, ana, session)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    return len(seen)


def test_the_queue_of_a_cluster_bears_its_name_and_no_accounts_id(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    anas = PaperCluster(house, ana)
    account_on(house, ben, "raven")
    perform(ana, "job_submit", session_id="personal", cluster="raven", script=SCRIPT)
    with house.scope(ben) as scope:
        now = usage.resources(scope)
    assert [(each.backend, each.waiting, each.watched) for each in now.queues] == [
        ("local", 0, False),
        ("raven", 1, True),
    ]
    assert anas.account not in str(now)


def test_queues_tell_what_waits_how_long_and_whether_anybody_watches(
    house: House, clock: FrozenClock, ana: Actor, perform: Perform
) -> None:
    for _ in range(2):
        perform(ana, "job_submit", session_id="personal", job_type="local", script=SCRIPT)
    clock.advance(90)
    with house.scope(ana) as scope:
        now = usage.resources(scope)
    [local] = now.queues
    assert (local.backend, local.waiting, local.running, local.watched) == ("local", 2, 0, False)
    assert local.oldest_seconds == pytest.approx(90)
    assert now.steps_due >= 1
    assert now.steps_held == 0
    assert now.machine.cores >= 1
    assert now.machine.disk_bytes is not None
    assert now.machine.disk_free_bytes is not None
    assert 0 <= now.machine.disk_free_bytes <= now.machine.disk_bytes
