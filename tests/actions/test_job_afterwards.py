"""What an ended job is told to have used and cost: from the runner's own measures of one that really ran."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.core.settings import load
from hub.jobs import afterwards, rules, sandbox, views
from hub.jobs.tables import jobs
from tests.conftest import Perform
from tests.jobs import personal, run_until

HOUR = 3600


@pytest.fixture(autouse=True)
def unsandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "works", lambda: False)


def job_of(house: House, actor: Actor, ref: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, ref)


def submitted(perform: Perform, house: House, ana: Actor, script: str, **resources: Any) -> str:
    made = perform(
        ana, "job_submit", session_id=personal(house, ana), job_type="local", script=script, resources=resources
    )
    return str(made["id"])


def priced(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "settings", msgspec.structs.replace(house.settings, price_core_hour=0.5, currency="CHF"))


def as_if_it_ran(house: House, job: str, hours: float, **measured: Any) -> None:
    """Put hours behind a job that ended within a second: its runner's measures, stretched."""
    with house.db.read() as conn:
        row = conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()
    ended = row.started_at + dt.timedelta(hours=hours)
    values = {"exit": {**row.exit, "seconds": hours * HOUR, **measured}, "ended_at": ended}
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(**values)))


def test_a_short_job_is_told_its_shares_and_hours_and_gets_no_advice(
    house: House, ana: Actor, perform: Perform
) -> None:
    busy = (
        "#!/usr/bin/env python3\nimport time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
    )
    job = submitted(perform, house, ana, busy, memory="1G")
    run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    view = job_of(house, ana, job)
    assert view.state == "SUCCEEDED"
    assert view.efficiency is not None
    assert view.efficiency.cpu is not None
    assert 0.05 < view.efficiency.cpu <= 1
    assert view.efficiency.memory is not None
    assert 0 < view.efficiency.memory < 0.5
    assert view.efficiency.hints == ()
    assert view.cost is not None
    assert view.started_at is not None
    assert view.ended_at is not None
    took = (view.ended_at - view.started_at).total_seconds()
    assert view.cost.core_hours == pytest.approx(took / HOUR)
    assert (view.cost.amount, view.cost.most) == (0, None)


def test_a_long_job_that_asked_for_much_is_told_what_would_do_and_what_it_cost(
    house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(perform, house, ana, "#!/bin/sh\nexec true\n", memory="4G", time="5:00:00")
    run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    as_if_it_ran(house, job, 4, cpu_seconds=4 * HOUR, peak_memory_bytes=150 << 20)
    priced(house, monkeypatch)
    view = job_of(house, ana, job)
    assert view.efficiency is not None
    assert [each.sentence for each in view.efficiency.hints] == [
        "Asked 4 GiB of memory, used 150 MiB at most. Next time 1 GiB would do."
    ]
    assert view.efficiency.hints[0].option == "--memory 1G"
    assert view.cost == afterwards.CostView(core_hours=4, gpu_hours=0, amount=2, most=None, currency="CHF")


def test_a_job_that_asked_for_nothing_is_not_told_that_it_asked_for_much(
    house: House, ana: Actor, perform: Perform
) -> None:
    job = submitted(perform, house, ana, "#!/bin/sh\nexec true\n")
    run_until(house, lambda: job_of(house, ana, job).state in rules.TERMINAL)
    as_if_it_ran(house, job, 4, cpu_seconds=4 * HOUR, peak_memory_bytes=1 << 20)
    view = job_of(house, ana, job)
    assert view.efficiency == afterwards.EfficiencyView(cpu=1, memory=None, time=None, hints=())


def test_a_job_that_waits_is_told_what_it_can_come_to_and_one_that_never_began_costs_nothing(
    house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(house, monkeypatch)
    job = submitted(perform, house, ana, "#!/bin/sh\nexec true\n", time="3:00:00")
    view = job_of(house, ana, job)
    assert view.efficiency is None
    assert view.cost == afterwards.CostView(core_hours=0, gpu_hours=0, amount=0, most=1.5, currency="CHF")
    perform(ana, "job_cancel", job=job)
    assert job_of(house, ana, job).cost is None


def test_a_backend_that_nobody_gave_a_price_costs_an_unknown_amount(house: House, ana: Actor, perform: Perform) -> None:
    job = submitted(perform, house, ana, "#!/bin/sh\nexec true\n")
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(backend="elsewhere")))
    cost = job_of(house, ana, job).cost
    assert cost is not None
    assert (cost.amount, cost.most) == (0, None)  # nothing was held yet


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "much"])
def test_a_price_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="COLLEGIUM_PRICE_CORE_HOUR"):
        load({"COLLEGIUM_PRICE_CORE_HOUR": text})
