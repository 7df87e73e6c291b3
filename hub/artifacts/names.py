"""How an artifact is found and called: `results/figure.png`, `ana/hcl:results/figure.png@3`, `sha256:...`."""

from __future__ import annotations

import sqlalchemy as sa

from hub.artifacts import rules, versions
from hub.artifacts.tables import versions as table
from hub.core.access import Guarded, guards, resolves
from hub.core.context import Scope
from hub.core.errors import NotFound
from hub.sessions import names as sessions
from hub.sessions.tables import sessions as sessions_table


@guards("artifact")
def guard_artifact(conn: sa.Connection, artifact: str) -> Guarded | None:
    """An artifact is seen by whoever sees its session."""
    row = conn.execute(
        sa.select(table.c.session, table.c.author, sessions_table.c.visibility)
        .join(sessions_table, sessions_table.c.id == table.c.session)
        .where(table.c.id == artifact)
    ).first()
    return None if row is None else Guarded(row.session, row.author, row.visibility)


@resolves("artifact")
def resolve_artifact(scope: Scope, ref: str) -> str | None:
    """The version meant, in the session named, or in the actor's own; a bare digest wherever the actor may look."""
    for meaning in rules.parse_reference(ref):
        if meaning.digest is not None and meaning.session is None:
            return _by_digest(scope, meaning.digest)
        try:
            session = scope.access.session(meaning.session, "artifact:read")
        except NotFound:
            continue
        if (found := versions.meant(scope, session, meaning)) is not None:
            return found.version
    return None


def _by_digest(scope: Scope, digest: str) -> str | None:
    found: str | None = scope.execute(
        sa.select(table.c.id)
        .where(table.c.digest == digest, table.c.session.in_(sessions.known_sessions(scope)))
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(1)
    ).scalar()
    return found


def name(scope: Scope, session: str, path: str, number: int) -> str:
    """The full name of a version, `owner/name:path@3`."""
    return f"{sessions.full_name(scope, session)}:{path}@{number}"


def url(scope: Scope, artifact: str) -> str:
    """The address of an artifact's page."""
    return f"{scope.settings.origin}/artifacts/{artifact}"
