"""What may happen once: sign-in links, step-up codes, tickets, invitations.

A secret is shown to one person and stored as its digest; using it is one conditional UPDATE, so that of many that race
exactly one wins. Unknown, used and expired secrets are refused in the same words.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Context
from hub.core.database import Tx
from hub.core.errors import NotFound
from hub.core.ids import secret_digest
from hub.people.tables import once


class Used(msgspec.Struct, frozen=True):
    """What a secret stood for, now that it is used."""

    kind: str
    person: str | None
    facts: dict[str, Any]


def issue(tx: Tx, secret: str, kind: str, *, person: str | None, expires_at: dt.datetime, **facts: Any) -> None:
    """Make `secret` good for one use."""
    tx.execute(
        sa.insert(once).values(
            digest=secret_digest(secret), kind=kind, person=person, facts=facts, expires_at=expires_at
        )
    )


def use(tx: Tx, secret: str, kind: str, now: dt.datetime, *, person: str | None = None) -> Used:
    """Use a secret up. Raises NotFound when it is unknown, used, expired, or another's."""
    conditions = [
        once.c.digest == secret_digest(secret),
        once.c.kind == kind,
        once.c.used_at.is_(None),
        once.c.expires_at > now,
    ]
    if person is not None:
        conditions.append(once.c.person == person)
    row = tx.execute(sa.update(once).where(*conditions).values(used_at=now).returning(once)).first()
    if row is None:
        raise NotFound(
            "this code or link is unknown, used or expired",
            code="secret_not_valid",
            hint="ask for a fresh one; each works once and only for a while",
        )
    return Used(row.kind, row.person, row.facts)


def look(conn: sa.Connection, secret: str, kind: str, now: dt.datetime) -> Used | None:
    """What a secret would stand for, without using it: a landing page that was only opened has spent nothing."""
    row = conn.execute(
        sa.select(once).where(
            once.c.digest == secret_digest(secret),
            once.c.kind == kind,
            once.c.used_at.is_(None),
            once.c.expires_at > now,
        )
    ).first()
    return None if row is None else Used(row.kind, row.person, row.facts)


def consume(ctx: Context, secret: str, *, kind: str, person: str | None = None) -> Used:
    """As `use`, inside an action."""
    return use(ctx.tx, secret, kind, ctx.now, person=person)


def forget_lapsed(tx: Tx, before: dt.datetime) -> None:
    """Drop what expired before this moment."""
    tx.execute(sa.delete(once).where(once.c.expires_at < before))
