"""Expiring links as a card shows them: never with the secret, which only who made it was shown."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.clock import iso
from hub.core.context import Scope
from hub.sessions.names import full_name
from hub.sessions.tables import links


class LinkFace(msgspec.Struct, frozen=True, kw_only=True):
    """A link, whether it still opens, and how often it did."""

    id: str
    session: str
    session_name: str
    label: str
    role: str
    expires: str
    uses: int
    uses_left: int | None
    state: str  # open | expired | revoked | used up


def some(scope: Scope, ids: set[str]) -> list[LinkFace]:
    """Links by id, in one look."""
    return [
        LinkFace(
            id=row.id,
            session=row.session,
            session_name=full_name(scope, row.session),
            label=row.label,
            role=row.role,
            expires=iso(row.expires_at),
            uses=row.uses,
            uses_left=row.uses_left,
            state=_state(scope, row),
        )
        for row in scope.execute(sa.select(links).where(links.c.id.in_(ids))).all()
    ]


def _state(scope: Scope, row: sa.Row[tuple[object, ...]]) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= scope.now:
        return "expired"
    return "used up" if row.uses_left == 0 else "open"
