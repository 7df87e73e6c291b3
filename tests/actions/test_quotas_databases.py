"""Submissions that race for the last of a quota, on SQLite and PostgreSQL: together they never pass it."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import SystemClock
from hub.core.context import Actor
from hub.core.database import Database
from hub.core.errors import Conflict
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import quotas
from hub.jobs.dry_plan import plan_job
from hub.jobs.plan_tables import job_plans
from hub.perform import perform
from tests.actions.cluster_fixtures import account_on, answers
from tests.conftest import make_person

WISH = {"script": "#!/bin/sh\ntrue\n", "resources": {"nodes": 2, "time": 60}}


@pytest.fixture
def houses(databases: Callable[[], Database], tmp_path: Path) -> list[House]:
    settings = Settings(data=tmp_path / "data")
    return [app.build(settings, clock=SystemClock(), bus=MemoryBus(), db=databases()) for _ in range(2)]


def test_the_last_of_a_quota_is_given_once(houses: list[House]) -> None:
    house = houses[0]
    ana: Actor = make_person(house, "ana")
    account = account_on(house, ana, "raven")
    plan_job(house, ana, dict(WISH))
    assert answers(house, account, 60) == 1
    perform(house, {"action": "quota_set", "session_id": "personal", "core_hours": 6.0, "money": 0.7}, ana)

    def submit(number: int) -> bool:
        try:
            perform(houses[number % 2], {"action": "job_submit", **WISH}, ana)
        except Conflict as refused:
            assert refused.code == "over_quota"
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(submit, range(8)))
    assert taken.count(True) == 3
    with house.scope(ana) as scope:
        told = {each.what: (each.used, each.left) for each in quotas.mine(scope).quotas[0].amounts}
    assert told["core_hours"] == (6.0, 0.0)
    assert told["money"] == (pytest.approx(0.6), pytest.approx(0.1))
    with house.db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(job_plans)).scalar_one() == 3
