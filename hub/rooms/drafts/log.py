"""A draft's history in SQL: numbered updates, folded into a checkpoint now and then, never rebuilt from text.

The history is the document. A checkpoint takes the place of its updates only after a fresh document made of it was
found to hold all that they held; what does not pass stays as it is and is complained about.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
import structlog

from hub.core.database import Tx
from hub.core.errors import TamperDetected
from hub.core.house import House
from hub.core.keys import seal, unseal
from hub.rooms.drafts import rules
from hub.rooms.drafts.document import Document
from hub.rooms.drafts.tables import draft_checkpoints, draft_updates, drafts

log = structlog.get_logger()

_LOCK = sa.select(drafts).where(drafts.c.id == sa.bindparam("draft"), drafts.c.removed_at.is_(None)).with_for_update()
_ROW = sa.select(drafts).where(drafts.c.id == sa.bindparam("draft"), drafts.c.removed_at.is_(None))
_CHECKPOINT = (
    sa.select(draft_checkpoints)
    .where(draft_checkpoints.c.draft == sa.bindparam("of"))
    .order_by(draft_checkpoints.c.up_to.desc())
    .limit(1)
)
_AFTER = (
    sa.select(draft_updates.c.sequence, draft_updates.c.sealed)
    .where(draft_updates.c.draft == sa.bindparam("of"), draft_updates.c.sequence > sa.bindparam("after"))
    .order_by(draft_updates.c.sequence)
)


def lock(tx: Tx, draft: str) -> sa.Row[Any] | None:
    """The draft's row, held until the unit of work ends; None when there is no such draft (any more)."""
    return tx.execute(_LOCK, {"draft": draft}).first()


def row(conn: sa.Connection, draft: str) -> sa.Row[Any] | None:
    """The draft's row as it is."""
    return conn.execute(_ROW, {"draft": draft}).first()


def after(conn: sa.Connection, key: bytes, draft: sa.Row[Any], sequence: int) -> list[tuple[int, bytes]] | None:
    """The updates after a number, in order; None when some of them were folded already."""
    found = [
        (each.sequence, unseal(key, each.sealed, about_update(draft.id, each.sequence)))
        for each in conn.execute(_AFTER, {"of": draft.id, "after": sequence})
    ]
    return found if [number for number, _ in found] == list(range(sequence + 1, draft.head + 1)) else None


def load(conn: sa.Connection, key: bytes, draft: sa.Row[Any]) -> Document:
    """The draft as its history says. Raises TamperDetected when a part of the history is missing."""
    document = Document()
    checkpoint = conn.execute(_CHECKPOINT, {"of": draft.id}).first()
    folded = 0
    if checkpoint is not None:
        folded = checkpoint.up_to
        document.take(unseal(key, checkpoint.sealed, about_checkpoint(draft.id, folded)))
    updates = after(conn, key, draft, folded)
    if updates is None:
        raise TamperDetected(f"the history of draft {draft.id} is not complete")
    for _, update in updates:
        document.take(update)
    return document


def append(
    house: House, tx: Tx, draft: sa.Row[Any], updates: list[tuple[str, bytes]], now: dt.datetime, **changes: Any
) -> int:
    """Number (author, update) pairs and keep them; the draft's row must be locked. Answers the new head."""
    key = house.keys.domain_in(tx, draft.session)
    head: int = draft.head
    for author, update in updates:
        head += 1
        sealed = seal(key, update, about_update(draft.id, head))
        tx.insert(draft_updates, draft=draft.id, sequence=head, sealed=sealed, author=author, at=now)
    tx.execute(
        sa.update(drafts)
        .where(drafts.c.id == draft.id)
        .values(
            head=head,
            log_updates=drafts.c.log_updates + len(updates),
            log_bytes=drafts.c.log_bytes + sum(len(update) for _, update in updates),
            updated_at=now,
            **changes,
        )
    )
    return head


def fold(house: House, tx: Tx, draft_id: str, now: dt.datetime) -> bool:
    """Fold a long log into a checkpoint that was verified to hold all of it; says whether it did."""
    draft = lock(tx, draft_id)
    if draft is None or not rules.is_long(draft.log_updates, draft.log_bytes):
        return False
    key = house.keys.domain_in(tx, draft.session)
    inputs = load(tx.conn, key, draft)
    state = inputs.whole()
    fresh = Document()
    fresh.take(state)
    needed = _needed(tx.conn, key, draft)
    if not rules.is_sound(inputs.text(), fresh.text(), needed, fresh.state(), had_pieces=draft.head > 0):
        log.error("drafts.checkpoint_not_sound", draft=draft.id, head=draft.head)
        return False
    tx.insert(
        draft_checkpoints,
        draft=draft.id,
        up_to=draft.head,
        sealed=seal(key, state, about_checkpoint(draft.id, draft.head)),
        vector=fresh.vector(),
        sha256=rules.digest(fresh.text()),
        at=now,
    )
    older = sa.and_(draft_checkpoints.c.draft == draft.id, draft_checkpoints.c.up_to < draft.head)
    tx.execute(sa.delete(draft_checkpoints).where(older))
    tx.execute(
        sa.delete(draft_updates).where(draft_updates.c.draft == draft.id, draft_updates.c.sequence <= draft.head)
    )
    tx.execute(
        sa.update(drafts).where(drafts.c.id == draft.id).values(log_updates=0, log_bytes=0, state_bytes=len(state))
    )
    return True


def _needed(conn: sa.Connection, key: bytes, draft: sa.Row[Any]) -> dict[int, int]:
    """How far the inputs of a checkpoint have come, read from their own bytes and not from the library's word."""
    needed: dict[int, int] = {}
    checkpoint = conn.execute(_CHECKPOINT, {"of": draft.id}).first()
    folded = 0
    if checkpoint is not None:
        folded, needed = checkpoint.up_to, rules.read_state(checkpoint.vector)
    for _, update in after(conn, key, draft, folded) or []:
        needed = rules.covered(rules.read_update(update), needed)
    return needed


def about_update(draft: str, sequence: int) -> str:
    """What a sealed update is bound to, so that rows cannot be swapped."""
    return f"draft:{draft}:{sequence}"


def about_checkpoint(draft: str, up_to: int) -> str:
    return f"draft-checkpoint:{draft}:{up_to}"


def about_version(version: str) -> str:
    return f"draft-version:{version}"
