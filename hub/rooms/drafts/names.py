"""How a draft is found and called: `2`, `d2` or `draft 2` in one's own session, `ana/lab#d2` anywhere, or the id."""

from __future__ import annotations

import re

import sqlalchemy as sa

from hub.core.access import Guarded, guards, resolves
from hub.core.context import Scope
from hub.core.errors import NotFound
from hub.rooms.drafts.tables import draft_versions, drafts

_NAME = re.compile(
    r"(?:(?P<session>[^#\s]{1,200})?#)?(?:d|draft)?\s*(?P<number>[1-9][0-9]{0,8})", re.IGNORECASE | re.ASCII
)


@guards("draft")
def guard_draft(conn: sa.Connection, draft_id: str) -> Guarded | None:
    """A draft is seen by whoever sees its session, until it is removed."""
    row = conn.execute(
        sa.select(drafts.c.session, drafts.c.created_by).where(drafts.c.id == draft_id, drafts.c.removed_at.is_(None))
    ).first()
    return None if row is None else Guarded(row.session, row.created_by)


@guards("draft_version")
def guard_version(conn: sa.Connection, version_id: str) -> Guarded | None:
    row = conn.execute(
        sa.select(drafts.c.session, draft_versions.c.author)
        .join(drafts, drafts.c.id == draft_versions.c.draft)
        .where(draft_versions.c.id == version_id)
    ).first()
    return None if row is None else Guarded(row.session, row.author)


@resolves("draft")
def resolve_draft(scope: Scope, ref: str) -> str | None:
    """The id of the draft with this number in the session named, or in the actor's own."""
    said = _NAME.fullmatch(ref.strip())
    if said is None:
        return None
    try:
        session = scope.access.session(said["session"], "room:join")
    except NotFound:
        return None
    found: str | None = scope.execute(
        sa.select(drafts.c.id).where(drafts.c.session == session, drafts.c.number == int(said["number"]))
    ).scalar()
    return found


def name(session_name: str, number: int) -> str:
    """What people call a draft: `owner/name#d2`."""
    return f"{session_name}#d{number}"


def url(scope: Scope, session_name: str, draft_id: str) -> str:
    """The address of a session's room with the draft on its stage."""
    return f"{scope.settings.origin}/s/{session_name}?look=draft:{draft_id}"
