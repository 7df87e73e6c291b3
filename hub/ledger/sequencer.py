"""The one writer of `ledger_order`: it numbers committed lines densely from 0 and grows the Merkle tree with them.

Whoever holds the lease `sequencer` may number; each pass proves in its own transaction that the epoch is still its own,
so a sequencer that was stopped and woken again changes nothing.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from hub.core import limits
from hub.core.database import Database, Tx
from hub.ledger import rules
from hub.ledger.tables import leases, ledger, ledger_frontier, ledger_order, ledger_pending

LEASE = "sequencer"


class LostLease(Exception):
    """Another holder has the lease now."""


def take_lease(tx: Tx, name: str, holder: str, now: dt.datetime, seconds: float) -> int | None:
    """The epoch under which `holder` now has the lease, or None while another's runs."""
    until = now + dt.timedelta(seconds=seconds)
    if tx.insert_new(leases, name=name, holder=holder, epoch=1, until=until):
        return 1
    row = tx.execute(sa.select(leases).where(leases.c.name == name).with_for_update()).one()
    if row.holder == holder:
        tx.execute(sa.update(leases).where(leases.c.name == name).values(until=until))
        return int(row.epoch)
    if row.until > now:
        return None
    tx.execute(sa.update(leases).where(leases.c.name == name).values(holder=holder, epoch=row.epoch + 1, until=until))
    return int(row.epoch) + 1


def number(tx: Tx, epoch: int) -> int:
    """Give the waiting lines their sequence; returns how many. Raises LostLease when `epoch` is over."""
    held = tx.execute(sa.select(leases.c.epoch).where(leases.c.name == LEASE).with_for_update()).scalar()
    if held != epoch:
        raise LostLease
    waiting = (
        tx.execute(
            sa.select(ledger_pending.c.line, ledger.c.commitment)
            .join(ledger, ledger.c.line == ledger_pending.c.line)
            .order_by(ledger_pending.c.line)
            .limit(limits.SEQUENCE_BATCH)
        )
    ).all()
    if not waiting:
        return 0
    size, frontier = read_frontier(tx.conn)
    tx.execute(sa.insert(ledger_order), [{"sequence": size + n, "line": row.line} for n, row in enumerate(waiting)])
    tx.execute(sa.delete(ledger_pending).where(ledger_pending.c.line.in_([row.line for row in waiting])))
    size, frontier = rules.append(size, frontier, (rules.leaf(row.commitment) for row in waiting))
    values = {"size": size, "hashes": b"".join(frontier)}
    if not tx.insert_new(ledger_frontier, id=0, **values):
        tx.execute(sa.update(ledger_frontier).where(ledger_frontier.c.id == 0).values(**values))
    return len(waiting)


def read_frontier(conn: sa.Connection) -> tuple[int, list[bytes]]:
    """The size of the tree and the roots of its perfect subtrees."""
    row = conn.execute(sa.select(ledger_frontier).where(ledger_frontier.c.id == 0)).first()
    if row is None:
        return 0, []
    return row.size, [row.hashes[i : i + 32] for i in range(0, len(row.hashes), 32)]


def pass_once(db: Database, holder: str, now: dt.datetime) -> int:
    """Take or renew the lease and number what waits; returns how many lines, 0 too when another holds the lease."""

    def work(tx: Tx) -> int:
        epoch = take_lease(tx, LEASE, holder, now, limits.SEQUENCER_LEASE_SECONDS)
        return 0 if epoch is None else number(tx, epoch)

    return db.write(work)


def is_due(conn: sa.Connection, holder: str, now: dt.datetime) -> bool:
    """Whether any line waits for its number, and for no other holder of the lease to give it."""
    held = conn.execute(sa.select(leases.c.holder, leases.c.until).where(leases.c.name == LEASE)).first()
    if held is not None and held.holder != holder and held.until > now:
        return False
    return conn.execute(sa.select(ledger_pending.c.line).limit(1)).first() is not None
