"""Several workers at once over one queue, on SQLite and PostgreSQL: no limit is passed and no job is run twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub import app
from hub.core import steps
from hub.core.bus import MemoryBus
from hub.core.clock import SystemClock
from hub.core.context import Actor
from hub.core.database import Database
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import rules, sandbox
from hub.jobs.tables import jobs
from hub.perform import perform
from tests.conftest import make_person
from tests.jobs import run_steps, run_until


@pytest.fixture(autouse=True)
def unsandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "works", lambda: False)


def states(house: House) -> list[str]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(jobs.c.state)).scalars())


def most_at_once(house: House, seen: list[int], stop: threading.Event) -> None:
    while not stop.wait(0.005):
        with house.db.read() as conn:
            query = sa.select(sa.func.count()).where(jobs.c.state.in_(rules.OCCUPYING)).group_by(jobs.c.submitted_by)
            seen.extend(conn.execute(query).scalars())


@pytest.mark.real
def test_workers_that_race_keep_the_limits_and_run_every_job_once(
    databases: Callable[[], Database], tmp_path: Path
) -> None:
    settings = Settings(data=tmp_path / "data", running_jobs_per_person=2, running_jobs=3)
    houses = [app.build(settings, clock=SystemClock(), bus=MemoryBus(), db=databases()) for _ in range(3)]
    house = houses[0]
    people: list[Actor] = [make_person(house, handle) for handle in ("ana", "ben")]
    tally = tmp_path / "tally"
    script = f"#!/bin/bash\necho ran >> {tally}\necho $COLLEGIUM_JOB > out.txt\n"
    for person in people:
        for _ in range(3):
            perform(house, {"action": "job_submit", "script": script}, person)
    steps = [{"step": "a", "script": script}, {"step": "b", "script": script, "dependencies": ["out.txt"]}]
    perform(house, {"action": "job_submit", "workflow": steps}, people[0])
    stop, seen = threading.Event(), [0]
    threads = [threading.Thread(target=most_at_once, args=(house, seen, stop))]
    threads += [threading.Thread(target=keep_running, args=(other, stop)) for other in houses[1:]]
    for thread in threads:
        thread.start()
    try:
        run_until(house, lambda: set(states(house)) <= rules.TERMINAL, seconds=40)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert states(house) == ["SUCCEEDED"] * 8
    assert tally.read_text() == "ran\n" * 8
    assert max(seen) <= 2


def keep_running(house: House, stop: threading.Event) -> None:
    while not stop.wait(0.01):
        run_steps(house)


@pytest.mark.parametrize("many", [1, 5])
def test_however_many_jobs_come_one_look_at_the_queue_is_asked_for(house: House, ana: Actor, many: int) -> None:
    for _ in range(many):
        act = {"action": "job_submit", "script": "#!/bin/sh\ntrue\n", "job_type": "local"}
        perform(house, {"tool": "distributed_collaboration", "params": act}, ana)
    with house.db.read() as conn:
        query = sa.select(sa.func.count()).where(steps.steps.c.kind == "place_jobs", steps.steps.c.done_at.is_(None))
        assert conn.execute(query).scalar_one() == 1
    run_steps(house)
    assert len([state for state in states(house) if state != "QUEUED"]) == min(many, 2)
