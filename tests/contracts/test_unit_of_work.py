"""One contract for the unit of work, proved on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.database import Database, Serial, Tx, metadata
from hub.core.errors import Unavailable
from tests.databases import OpenDatabase

counters = sa.Table(
    "test_counters",
    metadata,
    sa.Column("id", sa.String(20), primary_key=True),
    sa.Column("n", Serial, nullable=False),
)


def add(tx: Tx, key: str, n: int = 0) -> None:
    tx.execute(sa.insert(counters).values(id=key, n=n))


def value(db: Database, key: str) -> Any:
    with db.read() as conn:
        return conn.execute(sa.select(counters.c.n).where(counters.c.id == key)).scalar()


def test_a_unit_that_raises_leaves_nothing_behind(databases: OpenDatabase) -> None:
    db = databases()

    def fails(tx: Tx) -> None:
        add(tx, "a")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db.write(fails)
    assert value(db, "a") is None


def test_what_is_asked_of_a_closed_database_is_refused_and_not_forgotten(databases: OpenDatabase) -> None:
    db = databases()
    gate = threading.Event()
    under_way = db.submit(lambda tx: gate.wait(5))
    closing = threading.Thread(target=db.close)
    closing.start()
    gate.set()
    closing.join(10)
    assert under_way.result(5)
    with pytest.raises(Unavailable, match="stopping"):
        db.submit(lambda tx: add(tx, "late")).result(5)


def test_members_of_one_group_fail_alone(databases: OpenDatabase) -> None:
    db = databases()
    gate = threading.Event()
    first = db.submit(lambda tx: gate.wait(5))

    def unit(n: int) -> Any:
        def work(tx: Tx) -> int:
            add(tx, f"m{n}", n)
            if n % 3 == 0:
                raise ValueError(n)
            return n

        return work

    futures = [db.submit(unit(n)) for n in range(12)]
    gate.set()
    wait([first, *futures])
    for n, future in enumerate(futures):
        assert (future.exception() is not None) == (n % 3 == 0)
        assert value(db, f"m{n}") == (None if n % 3 == 0 else n)


def test_what_is_asked_for_after_commit_runs_only_after_a_commit(databases: OpenDatabase) -> None:
    db = databases()
    seen: list[Any] = []
    ran = threading.Event()

    def look() -> None:
        seen.append(value(db, "k"))
        ran.set()

    def kept(tx: Tx) -> None:
        add(tx, "k", 7)
        tx.after_commit(look)

    def lost(tx: Tx) -> None:
        tx.after_commit(lambda: seen.append("lost"))
        raise ValueError

    with pytest.raises(ValueError):
        db.write(lost)
    db.write(kept)
    assert ran.wait(5)
    assert seen == [7]


def test_no_update_is_lost_between_processes(databases: OpenDatabase) -> None:
    one, two = databases(), databases()
    one.write(lambda tx: add(tx, "c"))

    def increment(tx: Tx) -> None:
        n = tx.execute(sa.select(counters.c.n).where(counters.c.id == "c").with_for_update()).scalar_one()
        tx.execute(sa.update(counters).where(counters.c.id == "c").values(n=n + 1))

    futures = [db.submit(increment) for _ in range(100) for db in (one, two)]
    for future in futures:
        future.result()
    assert value(one, "c") == 200


def test_a_quota_holds_against_write_skew(databases: OpenDatabase) -> None:
    """Many take from one quota at once; the row of the quota is locked, so the sum never passes it."""
    one, two = databases(), databases()
    one.write(lambda tx: add(tx, "quota", 10))

    def take(n: int) -> Any:
        def work(tx: Tx) -> bool:
            quota = tx.execute(sa.select(counters.c.n).where(counters.c.id == "quota").with_for_update()).scalar_one()
            used = tx.execute(sa.select(sa.func.count()).where(counters.c.id.like("use-%"))).scalar_one()
            if used >= quota:
                return False
            add(tx, f"use-{n}")
            return True

        return work

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: (one, two)[n % 2].write(take(n)), range(40)))
    assert sum(given) == 10


def test_processes_take_turns_and_nobody_starves(databases: OpenDatabase) -> None:
    """A writer that comes now and then is served between those of a writer that never stops."""
    busy, patient = databases(), databases()
    stop = threading.Event()
    done = [0]

    def flood() -> None:
        while not stop.is_set():
            busy.write(lambda tx: add(tx, f"b{done[0]}"))
            done[0] += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        overtaken = []
        for n in range(20):
            before = done[0]
            patient.write(lambda tx, n=n: add(tx, f"p{n}"))  # type: ignore[misc]
            overtaken.append(done[0] - before)
    finally:
        stop.set()
        thread.join()
    # Between asking and being answered the flood gets its own turns, a handful and not hundreds.
    assert max(overtaken) < 60, overtaken


def test_a_reader_sees_one_snapshot(databases: OpenDatabase) -> None:
    db = databases()
    db.write(lambda tx: add(tx, "s", 1))
    with db.read() as conn:
        first = conn.execute(sa.select(counters.c.n)).scalar()
        db.write(lambda tx: tx.execute(sa.update(counters).values(n=2)) and None)
        assert conn.execute(sa.select(counters.c.n)).scalar() == first == 1
    assert value(db, "s") == 2


def test_a_unit_that_waits_for_another_is_refused_instead_of_hanging(databases: OpenDatabase) -> None:
    db = databases()
    with pytest.raises(RuntimeError, match="must not wait"):
        db.write(lambda tx: db.write(lambda inner: None))


def test_a_conflicting_insert_says_that_it_did_nothing(databases: OpenDatabase) -> None:
    one, two = databases(), databases()
    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(lambda db: db.write(lambda tx: tx.insert_new(counters, id="x", n=1)), (one, two)))
    assert sorted(won) == [False, True]
