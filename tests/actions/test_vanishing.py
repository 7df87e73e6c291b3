"""Whoever looks at a job is told when files that did not come home may be gone where they lie."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.core.ids import new_id
from hub.jobs import vanishing, views
from hub.jobs.clusters import views as cluster_views
from hub.jobs.clusters.tables import clusters
from hub.jobs.tables import jobs

Perform = Callable[..., Any]
DAY = 86400.0


@pytest.fixture
def raven(house: House, operator: Actor) -> str:
    row = {"id": new_id("cl"), "name": "raven", "kind": "slurm", "host": "h", "port": 22, "host_keys": [], "path": []}
    row |= {"defaults": {}, "made_by": operator.id, "made_at": house.clock.now()}
    house.db.write(lambda tx: tx.execute(sa.insert(clusters).values(**row)))
    return "raven"


@pytest.fixture
def job(house: House, ana: Actor, perform: Perform, raven: str) -> str:
    """A job that left three files on a cluster; it ran for two days and has just ended."""
    made = str(perform(ana, "job_submit", script="#!/bin/sh\ntrue\n", job_type="local")["id"])
    now = house.clock.now()
    ended = {"state": "SUCCEEDED", "account": "acc_1", "backend": raven, "unfetched": 3, "ended_at": now}
    ended["started_at"] = now - dt.timedelta(days=2)
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == made).values(**ended)))
    return made


def told(house: House, actor: Actor, job: str) -> tuple[str, ...]:
    with house.scope(actor) as scope:
        return views.job(scope, job).notes


def test_the_date_counts_from_the_job_s_start_and_is_said_until_and_after_it(
    house: House, ana: Actor, operator: Actor, perform: Perform, raven: str, job: str, clock: FrozenClock
) -> None:
    assert told(house, ana, job) == ()
    perform(operator, "cluster_policy", name=raven, purge_days=30)
    assert told(house, ana, job) == ("Files that were not fetched vanish on raven from 2024-06-29 on.",)
    clock.advance(28 * DAY)
    assert told(house, ana, job) == ("Files that were not fetched may have vanished on raven since 2024-06-29.",)
    house.db.write(lambda tx: tx.execute(sa.update(jobs).values(unfetched=0)))
    assert told(house, ana, job) == ()
    house.db.write(lambda tx: tx.execute(sa.update(jobs).values(unfetched=3)))
    perform(operator, "cluster_policy", name=raven, purge_days=0)
    assert told(house, ana, job) == ()


def test_the_operator_s_own_time_for_unfetched_files_counts_as_well(house: House, ana: Actor, job: str) -> None:
    settings = msgspec.structs.replace(house.settings, sweep_unfetched_after_days=10)
    with house.scope(ana) as scope:
        scope.settings = settings
        row = scope.execute(sa.select(jobs).where(jobs.c.id == job)).one()
        assert vanishing.at(scope, row) == house.clock.now() + dt.timedelta(days=10)


def test_what_cannot_be_a_timetable_is_refused_and_what_is_not_given_stays(
    house: House, ana: Actor, operator: Actor, perform: Perform, raven: str
) -> None:
    office = {"from": "08:00", "to": "18:00", "mbit": 50.0}
    assert list(perform(operator, "cluster_policy", name=raven, rate=[office])["rate"]) == [office]
    changed = perform(operator, "cluster_policy", name=raven, purge_days=14)
    assert (changed["purge_days"], list(changed["rate"])) == (14, [office])
    with house.scope(ana) as scope:
        (seen,) = cluster_views.all_clusters(scope).clusters
    assert seen.rate[0].mbit == 50 and "UTC" in seen.rate_clock
    for rate in ([office | {"from": "8"}], [office | {"mbit": -1}], [office | {"by": "x"}]):
        with pytest.raises(InvalidInput):
            perform(operator, "cluster_policy", name=raven, rate=rate)
    with pytest.raises(InvalidInput, match="what is to be changed"):
        perform(operator, "cluster_policy", name=raven)
    with pytest.raises(NotAllowed):
        perform(ana, "cluster_policy", name=raven, purge_days=1)
    with pytest.raises(NotFound):
        perform(operator, "cluster_policy", name="heron", purge_days=1)
