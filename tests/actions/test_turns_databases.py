"""Who used least lately starts first, by the record, on SQLite and PostgreSQL; and everybody is told why they wait."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.database import Database
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import turns, views
from hub.jobs.dry_plan import plan_job
from hub.jobs.tables import jobs
from hub.perform import perform
from tests.actions.cluster_fixtures import PaperCluster
from tests.actions.notebook_fixtures import grant
from tests.conftest import make_person
from tests.jobs import run_steps

SCRIPT = "#!/bin/sh\ntrue\n"
START = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)


@pytest.fixture
def house(databases: Callable[[], Database], tmp_path: Path) -> House:
    clock = FrozenClock(START)
    settings = Settings(data=tmp_path / "data", running_jobs=1, running_jobs_per_person=1)
    return app.build(settings, clock=clock, bus=MemoryBus(), db=databases())


@pytest.fixture
def people(house: House) -> list[Actor]:
    return [make_person(house, handle) for handle in ("ana", "ben", "cem")]


def submit(house: House, who: Actor, **more: Any) -> str:
    payload = {"action": "job_submit", "script": SCRIPT, "job_type": "local", "resources": {"time": 60}, **more}
    return str(perform(house, payload, who).result["id"])


def becomes(house: House, job: str, state: str, **values: Any) -> None:
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(state=state, **values)))


def used(house: House, who: Actor, hours: float, ago: dt.timedelta, **more: Any) -> None:
    """A job of theirs ran for so long, and ended so long ago."""
    ended = house.clock.now() - ago
    started = ended - dt.timedelta(hours=hours)
    becomes(
        house, submit(house, who, **more), "SUCCEEDED",
        queued_at=started, placed_at=started, started_at=started, ended_at=ended,
    )  # fmt: skip


def order(house: House, who: Actor) -> list[str]:
    with house.scope(who) as scope:
        return [each.job for each in turns.line(scope).order]


def reason(house: House, who: Actor, job: str) -> str:
    with house.scope(who) as scope:
        return views.job(scope, job).reason


def test_the_one_place_goes_to_who_used_least_lately_and_the_others_are_told_why(
    house: House, people: list[Actor]
) -> None:
    ana, ben, _ = people
    used(house, ana, 8, dt.timedelta(days=1))
    used(house, ben, 2, dt.timedelta(days=1))
    first, second, third = (submit(house, who) for who in people)
    assert order(house, ana) == [third, second, first]
    assert reason(house, ana, first) == "3rd in the queue: two people who used less lately go first."
    assert reason(house, ben, second) == "2nd in the queue: one person who used less lately goes first."
    run_steps(house, ["place_jobs"])
    with house.db.read() as conn:
        states = {row.id: row.state for row in conn.execute(sa.select(jobs.c.id, jobs.c.state))}
    assert (states[first], states[second], states[third]) == ("QUEUED", "QUEUED", "SUBMITTING")


def test_use_is_worth_half_after_a_week_and_what_runs_counts_by_its_limit(house: House, people: list[Actor]) -> None:
    ana, ben, cem = people
    used(house, ana, 4, dt.timedelta(days=14))
    used(house, ben, 2, dt.timedelta(hours=1))
    becomes(house, submit(house, cem, resources={"time": "03:00:00"}), "RUNNING", placed_at=house.clock.now())
    with house.scope(ana) as scope:
        found = turns.used(scope, "local", jobs.c.submitted_by, [each.id for each in people])
    hours = [found[each.id] / 3600 for each in people]
    assert hours == [pytest.approx(1), pytest.approx(2), pytest.approx(3)]


def test_only_use_of_the_place_itself_counts(house: House, people: list[Actor]) -> None:
    ana, ben, _ = people
    PaperCluster(house, ana, "raven")
    used(house, ana, 50, dt.timedelta(hours=2), job_type="slurm", cluster="raven")
    used(house, ben, 1, dt.timedelta(hours=2))
    his, hers = submit(house, ben), submit(house, ana)
    assert order(house, ana) == [hers, his]


def test_who_used_much_starts_after_a_day_without_a_start_whatever_others_used(
    house: House, people: list[Actor]
) -> None:
    ana, ben, _ = people
    used(house, ana, 500, dt.timedelta(hours=30))
    hers, his = submit(house, ana), submit(house, ben)
    assert order(house, ana) == [his, hers]
    assert isinstance(house.clock, FrozenClock)
    house.clock.advance(86401)
    # Ben has a start now and then; ana had none since she came.
    becomes(house, submit(house, ben), "FAILED", placed_at=house.clock.now())
    assert order(house, ana) == [hers, his]
    assert reason(house, ben, his) == "2nd in the queue: one person without a start for a day goes first."


def test_the_session_that_used_less_decides_between_people_who_used_the_same(house: House, people: list[Actor]) -> None:
    ana, ben, cem = people
    large = perform(house, {"action": "session_create", "name": "large"}, cem).result["session"]
    used(house, cem, 9, dt.timedelta(hours=1), session_id="cem/large")
    grant(house, large, ana, "read_write")
    hers, his = submit(house, ana, session_id="cem/large"), submit(house, ben)
    assert order(house, ana) == [his, hers]


def test_an_estimate_of_the_start_here_counts_who_would_go_first(house: House, people: list[Actor]) -> None:
    ana, ben, cem = people
    used(house, ana, 5, dt.timedelta(hours=1))
    submit(house, cem)
    wish = {"script": SCRIPT, "resources": {"time": 60}}

    def starts(who: Actor) -> float | None:
        return next(each.starts_in for each in plan_job(house, who, dict(wish)).candidates if each.backend == "local")

    # Behind cem, who waited first; and ana also behind ben, once he is there.
    assert (starts(ben), starts(ana)) == (3600, 3600)
    submit(house, ben)
    assert starts(ana) == 7200


def test_what_goes_to_one_cluster_is_handed_on_in_the_same_order(house: House, people: list[Actor]) -> None:
    ana, ben, _ = people
    cluster = PaperCluster(house, ana, "kube", kind="kubernetes")
    where = {"job_type": "kubernetes", "cluster": "kube"}
    used(house, ana, 5, dt.timedelta(hours=1), **where)
    hers, his, more = (submit(house, who, **where) for who in (ana, ben, ana))
    run_steps(house, ["place_jobs"])
    assert [each.job for each in cluster.port.watched(cluster.epoch)] == [his, hers, more]
