"""Who follows the ledger for the chats, and how far they have come.

One process follows at a time: its lease names an epoch, and whatever a process of an earlier epoch still writes is
refused. The cursor is a row, so the next process goes on where the last one stopped.
"""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa

from hub.chats.tables import chat_cursors
from hub.core import limits
from hub.core.database import Tx
from hub.core.errors import Conflict

FOLLOWER = "cards"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the asker follows now; `epoch` fences its writes, `sequence` is how far the ledger was followed."""

    held: bool
    epoch: int
    sequence: int


def hold(tx: Tx, holder: str, sequence: int | None, newest: int, now: dt.datetime) -> Held:
    """Take or renew the lease, and record how far the ledger was followed.

    The first follower ever begins with what happens next: nobody wants cards of what was over before.
    """
    until = now + dt.timedelta(seconds=limits.CHAT_LEASE_SECONDS)
    if tx.insert_new(chat_cursors, name=FOLLOWER, sequence=newest, holder=holder, epoch=1, lease_until=until):
        return Held(held=True, epoch=1, sequence=newest)
    row = tx.execute(sa.select(chat_cursors).where(chat_cursors.c.name == FOLLOWER).with_for_update()).one()
    if row.holder != holder and row.lease_until > now:
        return Held(held=False, epoch=row.epoch, sequence=row.sequence)
    epoch = row.epoch if row.holder == holder else row.epoch + 1
    at = row.sequence if sequence is None or row.holder != holder else max(sequence, row.sequence)
    # A hub that was restored from a backup has a shorter ledger than it had.
    at = min(at, newest)
    tx.execute(
        sa.update(chat_cursors)
        .where(chat_cursors.c.name == FOLLOWER)
        .values(holder=holder, epoch=epoch, lease_until=until, sequence=at)
    )
    return Held(held=True, epoch=epoch, sequence=at)


def release(tx: Tx, holder: str, now: dt.datetime) -> None:
    """A follower that ends in order lets the next one begin at once."""
    tx.execute(
        sa.update(chat_cursors)
        .where(chat_cursors.c.name == FOLLOWER, chat_cursors.c.holder == holder)
        .values(lease_until=now)
    )


def refuse_stale(tx: Tx, epoch: int) -> None:
    """Raises Conflict when another process follows by now."""
    current = tx.execute(
        sa.select(chat_cursors.c.epoch).where(chat_cursors.c.name == FOLLOWER).with_for_update()
    ).scalar()
    if current != epoch:
        raise Conflict("another process follows the ledger for the chats now", code="stale_follower")
