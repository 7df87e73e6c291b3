"""Steps and their leases on both databases: one effect, whoever is killed, stopped or woken again."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from hub.core import steps
from hub.core.database import Database
from tests.databases import OpenDatabase

AT = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
LATER = AT + dt.timedelta(seconds=16)


def added(db: Database, due_at: dt.datetime = AT) -> str:
    return db.write(lambda tx: steps.add(tx, "test", "obj", queue="default", due_at=due_at, args={"n": 1}))


def claimed(db: Database, step_id: str, holder: str, now: dt.datetime = AT) -> steps.Step | None:
    return db.write(lambda tx: steps.claim(tx, step_id, holder, now))


def due(db: Database, now: dt.datetime) -> list[str]:
    with db.read() as conn:
        return [step for _, step in steps.due(conn, now)]


def test_of_many_that_race_for_a_step_one_gets_it(databases: OpenDatabase) -> None:
    one, two = databases(), databases()
    step_id = added(one)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: claimed((one, two)[n % 2], step_id, f"w{n}"), range(16)))
    assert sum(step is not None for step in got) == 1


def test_a_step_is_not_taken_before_it_is_due_nor_while_its_lease_runs(databases: OpenDatabase) -> None:
    db = databases()
    step_id = added(db, LATER)
    assert claimed(db, step_id, "a") is None
    assert due(db, AT) == []
    assert claimed(db, step_id, "a", LATER) is not None
    assert claimed(db, step_id, "b", LATER) is None
    assert due(db, LATER) == []


def test_a_stopped_holder_that_was_overtaken_changes_nothing(databases: OpenDatabase) -> None:
    """SIGSTOP past the lease, another finishes, SIGCONT: the first holder's writes roll back."""
    db = databases()
    step_id = added(db)
    first = claimed(db, step_id, "stopped")
    assert due(db, LATER) == [step_id]
    second = claimed(db, step_id, "other", LATER)
    assert first is not None and second is not None and second.attempt == first.attempt + 1
    db.write(lambda tx: steps.finish(tx, second, LATER))
    for write in (
        lambda tx: steps.finish(tx, first, LATER),
        lambda tx: steps.renew(tx, first, LATER),
        lambda tx: steps.put_off(tx, first, LATER, "again"),
        lambda tx: steps.give_up(tx, first, LATER, "no"),
    ):
        with pytest.raises(steps.StaleStep):
            db.write(write)
    assert due(db, LATER + dt.timedelta(days=1)) == []


def test_a_renewed_lease_keeps_the_step(databases: OpenDatabase) -> None:
    db = databases()
    step = claimed(db, added(db), "a")
    assert step is not None
    db.write(lambda tx: steps.renew(tx, step, AT + dt.timedelta(seconds=10)))
    assert due(db, LATER) == []


def test_a_step_put_off_comes_back_when_it_is_due(databases: OpenDatabase) -> None:
    db = databases()
    step = claimed(db, added(db), "a")
    assert step is not None
    db.write(lambda tx: steps.put_off(tx, step, LATER, "busy"))
    assert due(db, AT) == []
    assert due(db, LATER) == [step.id]


def test_a_cancelled_step_is_nobodys_any_more(databases: OpenDatabase) -> None:
    db = databases()
    step = claimed(db, added(db), "a")
    assert step is not None
    db.write(lambda tx: steps.cancel(tx, "test", "obj", AT))
    with pytest.raises(steps.StaleStep):
        db.write(lambda tx: steps.finish(tx, step, AT))
    with db.read() as conn:
        assert conn.execute(sa.select(steps.steps.c.failed)).scalar() is False
