"""How an entry is found and called: `note 3`, `n3`, `ana/hcl#n3`."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from hub.core.access import Guarded, guards, resolves
from hub.core.context import Scope
from hub.core.errors import NotFound
from hub.notebook.tables import entries
from hub.sessions import names as sessions

_NAME = re.compile(r"(?:(?P<session>[^#\s]{1,200})?#)?(?:n|note|entry)?\s*(?P<number>[1-9][0-9]{0,8})", re.IGNORECASE)


@guards("entry")
def guard_entry(conn: sa.Connection, entry: str) -> Guarded | None:
    """An entry is seen by whoever sees its session."""
    row = conn.execute(sa.select(entries.c.session, entries.c.created_by).where(entries.c.id == entry)).first()
    return None if row is None else Guarded(row.session, row.created_by)


@resolves("entry")
def resolve_entry(scope: Scope, ref: str) -> str | None:
    """The id of the entry with this number in the session named, or in the actor's own."""
    said = _NAME.fullmatch(ref.strip())
    if said is None:
        return None
    try:
        session = scope.access.session(said["session"], "entry:read")
    except NotFound:
        return None
    found: str | None = scope.execute(
        sa.select(entries.c.id).where(entries.c.session == session, entries.c.number == int(said["number"]))
    ).scalar()
    return found


def name(scope: Scope, session: str, number: int) -> str:
    """What people call an entry: `owner/name#n3`."""
    return f"{sessions.full_name(scope, session)}#n{number}"


def url(scope: Scope, entry: str) -> str:
    """The address of an entry's page."""
    return f"{scope.settings.origin}/entries/{entry}"


def checked_version(row: Any, version: int | None) -> int:
    """The version asked for, or the newest. Raises NotFound."""
    if version is None:
        return int(row.version)
    if not 1 <= version <= row.version:
        raise NotFound(
            f"entry {row.number} has no version {version}",
            code="version_not_found",
            hint=f"its newest is {row.version}",
        )
    return version
