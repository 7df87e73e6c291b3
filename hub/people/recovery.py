"""Recovery codes: for who lost the authenticator app. Ten, each good once, stored as digests, shown once."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.ids import new_id, secret_digest
from hub.people.tables import recovery_codes


def renew(ctx: Context, person: str) -> list[str]:
    """Ten fresh codes, to be shown once in the field `codes` of the answer; the old ones are worth nothing."""
    forget(ctx.tx, person)
    made = [ctx.reveal(f"codes.{number}", "", "recovery", new_id("rec")) for number in range(limits.RECOVERY_CODES)]
    for code in made:
        ctx.execute(sa.insert(recovery_codes).values(digest=_digest(code), person=person))
    return made


def use(tx: Tx, person: str, code: str, now: dt.datetime) -> bool:
    """Use one up; False when it is unknown, used, or another's."""
    return (
        tx.execute(
            sa.update(recovery_codes)
            .where(
                recovery_codes.c.digest == _digest(code),
                recovery_codes.c.person == person,
                recovery_codes.c.used_at.is_(None),
            )
            .values(used_at=now)
        ).rowcount
        == 1
    )


def forget(tx: Tx, person: str) -> None:
    """Take all of a person's codes away."""
    tx.execute(sa.delete(recovery_codes).where(recovery_codes.c.person == person))


def _digest(code: str) -> bytes:
    """Of the letters and digits alone, as they are read: people type groups as they like, and o for 0."""
    read = code.casefold().translate(str.maketrans("oil", "011"))
    return secret_digest("recovery:" + "".join(c for c in read if c.isalnum()))
