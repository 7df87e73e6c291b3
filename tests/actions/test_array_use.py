"""What an array is counted for: at its worst while it is open, and for what its tasks ran when they have ended."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import quotas, turns, usage, views
from hub.jobs.rules import Exit
from hub.jobs.shares import Account
from hub.jobs.tables import jobs
from tests.actions.cluster_fixtures import PaperCluster
from tests.conftest import Perform
from tests.jobs import personal, run_steps

HOUR = 3600.0
# Ten tasks of two cores, each for two hours at most, one after the other.
ARRAY = {"array": "0-9%1", "cpus_per_node": 2, "time": 120}
IN_THE_SCRIPT = "#!/bin/sh\n#SBATCH --array=0-9%1 -c 2 -t 120\ntrue\n"


def counted(house: House, who: Actor, job: str) -> dict[str, float]:
    """Core hours as a quota, the turns on the cluster, the page of use and the job's card count them, and its cost."""
    with house.scope(who) as scope:
        quota = quotas.used_by(scope, Account("person", who.id), "")
        turn = turns.used(scope, "raven", jobs.c.submitted_by, [who.id])[who.id]
        page = usage.session_usage(scope, personal(house, who)).total
        card = views.job(scope, job).cost
    assert card is not None
    return {
        "quota": quota.core_hours,
        "turn": turn / HOUR,
        "page": page.core_hours,
        "card": card.core_hours,
        "money": card.amount or 0.0,
    }


@pytest.mark.parametrize("asks", [{"script": "#!/bin/sh\ntrue\n", "resources": ARRAY}, {"script": IN_THE_SCRIPT}])
def test_an_array_that_ran_task_by_task_is_counted_for_each_task_and_not_for_all_of_them_all_the_time(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, asks: dict[str, Any]
) -> None:
    raven = PaperCluster(house, ana, price_per_core_hour=0.5)
    job = str(perform(ana, "job_submit", cluster="raven", **asks)["id"])
    run_steps(house)
    with house.scope(ana) as scope:
        reserved = quotas.used_by(scope, Account("person", ana.id), "")
    assert reserved.core_hours == pytest.approx(40), "all of them, for as long as they may"
    raven.tell(job, "started")
    began = clock.now()
    clock.advance(10 * HOUR)
    span = {"started_at": began.timestamp(), "ended_at": clock.now().timestamp(), "seconds": 10 * HOUR}
    raven.tell(job, "ended", exit=Exit("exited", code=0, tasks=10, task_seconds=5 * HOUR, **span))
    home = sa.update(jobs).where(jobs.c.id == job).values(state="SUCCEEDED")  # there is nothing to be brought
    house.db.write(lambda tx: tx.execute(home))
    found = counted(house, ana, job)
    assert found == pytest.approx(dict.fromkeys(("quota", "turn", "page", "card"), 10) | {"money": 5}, rel=1e-3)
