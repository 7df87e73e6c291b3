"""Reading the ledger in its order: how everything that follows the hub learns what happened.

A follower keeps the last sequence it has seen and asks for what comes after. The bus only wakes it; a poll finds the
same lines.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.ledger.lines import Body
from hub.ledger.tables import ledger, ledger_bodies, ledger_order


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered line, as followers see it; `facts` is empty when the body was erased."""

    sequence: int
    at: dt.datetime
    actor: str
    action: str
    object_kind: str
    object: str
    session: str | None
    facts: dict[str, Any]
    came_by: str | None = None


def read(
    conn: sa.Connection, after: int, *, session: str | None = None, limit: int = limits.EVENTS_PAGE
) -> list[Event]:
    """The events with a sequence greater than `after` (-1: from the first), in order."""
    query = (
        sa.select(ledger_order.c.sequence, ledger, ledger_bodies.c.bytes)
        .join(ledger, ledger.c.line == ledger_order.c.line)
        .outerjoin(ledger_bodies, ledger_bodies.c.line == ledger.c.line)
        .where(ledger_order.c.sequence > after)
        .order_by(ledger_order.c.sequence)
        .limit(limit)
    )
    if session is not None:
        query = query.where(ledger.c.session == session)
    return [_event(row) for row in conn.execute(query)]


def _event(row: sa.Row[Any]) -> Event:
    body = msgspec.json.decode(row.bytes, type=Body) if row.bytes else None
    return Event(
        sequence=row.sequence,
        at=row.at,
        actor=row.actor,
        action=row.action,
        object_kind=row.object_kind,
        object=row.object,
        session=row.session,
        facts=body.facts if body else {},
        came_by=body.came_by if body else None,
    )


_NEWEST = sa.select(sa.func.max(ledger_order.c.sequence))


def newest(conn: sa.Connection) -> int:
    """The greatest sequence given so far; -1 when there is none."""
    found = conn.execute(_NEWEST).scalar()
    return -1 if found is None else int(found)
