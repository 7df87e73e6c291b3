"""What an agent said last of its cluster: kept with the moment it was heard, and with what others found out before."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.clusters import views
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.port import Standing
from tests.actions.cluster_fixtures import PaperCluster
from tests.conftest import Perform


def stands(house: House, ana: Actor) -> Standing:
    with house.scope(ana) as scope:
        mine = views.one_cluster(scope, "raven").account
    assert mine is not None and mine.standing is not None
    return mine.standing


def test_the_version_that_a_test_found_stays_when_an_agent_knows_none_yet(house: House, ana: Actor) -> None:
    raven = PaperCluster(house, ana)
    tested = {"reached": True, "version": "22.05.8"}
    house.db.write(lambda tx: tx.execute(sa.update(cluster_accounts).values(standing=tested)))
    raven.port.stands(raven.epoch, Standing(reached=True, per_minute={"squeue": 3}))
    assert stands(house, ana).version == "22.05.8" and stands(house, ana).per_minute == {"squeue": 3}
    raven.port.stands(raven.epoch, Standing(reached=True, version="23.11.1"))
    assert stands(house, ana).version == "23.11.1"
    raven.port.stands(raven.epoch, Standing(reached=True))
    assert stands(house, ana).version == "23.11.1"


def test_a_standing_is_as_old_as_the_hubs_own_clock_says(house: House, ana: Actor) -> None:
    raven = PaperCluster(house, ana)
    raven.port.stands(raven.epoch, Standing(reached=True, at=1.0))
    assert stands(house, ana).at == house.clock.now().timestamp()


def test_the_doctor_tells_the_agents_last_word_and_that_the_hub_leaves_a_cluster_alone(
    house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cluster itself would say is the subject of tests with a real one; here nobody is asked."""
    from hub.jobs.clusters import examining

    monkeypatch.setattr(examining, "_signed_in", _nobody)
    raven = PaperCluster(house, ana)
    until = (house.clock.now() + dt.timedelta(seconds=90)).timestamp()
    raven.port.stands(raven.epoch, Standing(reached=False, said="no route", alone_until=until, per_minute={"sacct": 9}))
    told = perform(ana, "cluster_doctor", cluster="raven")
    lines = {line["name"]: line for line in told["lines"]}
    assert "did not reach the cluster: no route" in lines["agent"]["words"]
    assert lines["left alone"]["level"] == "warning" and "another 90 s" in lines["left alone"]["words"]
    assert lines["calls per minute"]["level"] == "warning" and "Sacct 9" in lines["calls per minute"]["words"]
    assert told["worst"] == "failed"


def test_the_doctor_tells_a_quota_that_is_used_up(
    house: House, ana: Actor, operator: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.jobs.clusters import examining

    monkeypatch.setattr(examining, "_signed_in", _nobody)
    PaperCluster(house, ana)
    perform(operator, "quota_set", person="ana", open=1)
    perform(ana, "job_submit", script="#!/bin/sh\nsleep 1\n", job_type="local")
    lines = [line for line in perform(ana, "cluster_doctor", cluster="raven")["lines"] if line["name"] == "quota"]
    assert [line["level"] for line in lines] == ["failed"] and "1 of 1 open" in lines[0]["words"]


async def _nobody(house: House, row: Any, mine: Any) -> Any:
    from hub.jobs.clusters.diagnosis import Refused, Seen

    return Seen(refused=Refused("unreachable", "no route to it"))
