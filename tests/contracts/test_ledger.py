"""The ledger's promises on both databases: no follower misses or repeats a line, and the sequence has no gap."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from hub.core.database import Database, Tx
from hub.ledger import checkpoints, followers, lines, rules, sequencer
from hub.ledger.keys import CheckpointKey
from hub.ledger.tables import ledger, ledger_bodies, ledger_order
from hub.ledger.verification import verify
from tests.databases import OpenDatabase

AT = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
KEY = CheckpointKey(b"k" * 32)


def write_line(tx: Tx, name: str) -> int:
    body = lines.Body(at="2024-06-01T00:00:00Z", actor="per_a", action="tested", object_kind="thing", object=name)
    return lines.append(tx, body, AT)


def numbered(db: Database) -> list[tuple[int, str]]:
    with db.read() as conn:
        return [(e.sequence, e.object) for e in followers.read(conn, -1, limit=100_000)]


def settle(db: Database) -> None:
    while sequencer.pass_once(db, "test", AT):
        pass


@pytest.mark.postgres
def test_lines_committed_in_reverse_and_rolled_back_leave_neither_gap_nor_loss(
    postgres_url: str, request: pytest.FixtureRequest
) -> None:
    """Two transactions commit in the reverse of their serial order and a third rolls back, with a pass in between."""
    db = _fresh_postgres(postgres_url)
    try:
        engine = db.write_engine
        slow, fast, lost = engine.connect(), engine.connect(), engine.connect()
        for conn, name in ((slow, "slow"), (lost, "lost"), (fast, "fast")):
            conn.begin()
            write_line(Tx(conn), name)
        fast.commit()
        settle(db)
        assert numbered(db) == [(0, "fast")]
        lost.rollback()
        slow.commit()
        settle(db)
        assert numbered(db) == [(0, "fast"), (1, "slow")]
        for conn in (slow, fast, lost):
            conn.close()
    finally:
        db.close()


def _fresh_postgres(server: str) -> Database:
    import secrets

    import psycopg

    from hub.core.database import metadata

    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    db = Database(server.rsplit("/", 1)[0] + f"/{name}")
    metadata.create_all(db.write_engine)
    return db


def test_a_rolled_back_line_never_gets_a_number(databases: OpenDatabase) -> None:
    db = databases()

    def fails(tx: Tx) -> None:
        write_line(tx, "lost")
        raise ValueError

    db.write(lambda tx: write_line(tx, "one"))
    with pytest.raises(ValueError):
        db.write(fails)
    db.write(lambda tx: write_line(tx, "two"))
    settle(db)
    assert numbered(db) == [(0, "one"), (1, "two")]


def test_thirty_two_writers_racing_lose_and_repeat_nothing_for_a_follower(databases: OpenDatabase) -> None:
    one, two = databases(), databases()
    done = threading.Event()
    seen: list[tuple[int, str]] = []

    def follow() -> None:
        after = -1
        while True:
            finished = done.is_set()
            sequencer.pass_once(one, "test", AT)
            with two.read() as conn:
                events = followers.read(conn, after)
            seen.extend((e.sequence, e.object) for e in events)
            if events:
                after = events[-1].sequence
            elif finished:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: (one, two)[n % 2].write(lambda tx: write_line(tx, f"w{n}")), range(320)))
    done.set()
    follower.join()
    assert [sequence for sequence, _ in seen] == list(range(320))
    assert {name for _, name in seen} == {f"w{n}" for n in range(320)}


def test_a_sequencer_that_lost_its_lease_changes_nothing(databases: OpenDatabase) -> None:
    db = databases()
    epoch = db.write(lambda tx: sequencer.take_lease(tx, sequencer.LEASE, "stopped", AT, 5))
    assert epoch == 1
    assert db.write(lambda tx: sequencer.take_lease(tx, sequencer.LEASE, "other", AT, 5)) is None
    later = AT + dt.timedelta(seconds=6)
    assert db.write(lambda tx: sequencer.take_lease(tx, sequencer.LEASE, "other", later, 5)) == 2
    db.write(lambda tx: write_line(tx, "one"))
    with pytest.raises(sequencer.LostLease):
        db.write(lambda tx: sequencer.number(tx, 1))
    assert numbered(db) == []
    assert db.write(lambda tx: sequencer.number(tx, 2)) == 1


def filled(databases: OpenDatabase, n: int = 20) -> Database:
    db = databases()
    for i in range(n):
        db.write(lambda tx, i=i: write_line(tx, f"o{i}"))  # type: ignore[misc]
        if i % 7 == 0:
            settle(db)
            db.write(lambda tx: checkpoints.make(tx, KEY.private, KEY.origin, AT))
    settle(db)
    return db


def check(db: Database) -> str:
    with db.read() as conn:
        return verify(conn, KEY.origin, KEY.public).fault


def test_an_untouched_ledger_verifies_and_its_root_is_that_of_rfc_6962(databases: OpenDatabase) -> None:
    db = filled(databases)
    with db.read() as conn:
        result = verify(conn, KEY.origin, KEY.public)
        commitments = conn.execute(
            sa.select(ledger.c.commitment)
            .join(ledger_order, ledger_order.c.line == ledger.c.line)
            .order_by(ledger_order.c.sequence)
        ).scalars()
        expected = rules.tree_root([rules.leaf(c) for c in commitments]).hex()
    assert (result.holds, result.lines, result.checkpoints, result.root) == (True, 20, 3, expected)


def test_an_erased_body_still_verifies_and_is_counted(databases: OpenDatabase) -> None:
    db = filled(databases)
    db.write(lambda tx: tx.execute(sa.delete(ledger_bodies).where(ledger_bodies.c.line == 5)) and None)
    with db.read() as conn:
        result = verify(conn, KEY.origin, KEY.public)
    assert (result.holds, result.erased) == (True, 1)


TAMPERING = {
    "a body changed": lambda tx: tx.execute(
        sa.update(ledger_bodies).where(ledger_bodies.c.line == 4).values(bytes=b"{}")
    ),
    "an actor changed": lambda tx: tx.execute(sa.update(ledger).where(ledger.c.line == 4).values(actor="per_b")),
    "a commitment changed": lambda tx: tx.execute(
        sa.update(ledger).where(ledger.c.line == 4).values(commitment=b"\x01" + b"0" * 32)
    ),
    "a number removed": lambda tx: tx.execute(sa.delete(ledger_order).where(ledger_order.c.sequence == 3)),
    "the end cut off": lambda tx: tx.execute(sa.delete(ledger_order).where(ledger_order.c.sequence >= 10)),
    "two lines swapped": lambda tx: (
        tx.execute(sa.update(ledger_order).where(ledger_order.c.sequence == 3).values(sequence=100)),
        tx.execute(sa.update(ledger_order).where(ledger_order.c.sequence == 4).values(sequence=3)),
        tx.execute(sa.update(ledger_order).where(ledger_order.c.sequence == 100).values(sequence=4)),
    ),
    "a checkpoint re-signed by another": lambda tx: tx.execute(
        sa.update(checkpoints.checkpoints).values(
            note=checkpoints.sign(CheckpointKey(b"x" * 32).private, KEY.origin, 1, b"0" * 32)
        )
    ),
}


@pytest.mark.parametrize("tampering", TAMPERING, ids=lambda name: name.replace(" ", "-"))
def test_tampering_is_found_and_named(databases: OpenDatabase, tampering: str) -> None:
    db = filled(databases)
    assert check(db) == ""
    db.write(lambda tx: TAMPERING[tampering](tx) and None)
    assert check(db) != ""
