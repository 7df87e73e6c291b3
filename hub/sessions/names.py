"""Names people can say, resolved among what the actor may know; never among another tenant's names."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.access import resolves
from hub.core.context import Scope
from hub.core.errors import Conflict
from hub.people.tables import persons
from hub.sessions import rules
from hub.sessions.tables import grants, sessions

_FULL_NAME = (
    sa.select(persons.c.handle, sessions.c.name)
    .join(persons, persons.c.id == sessions.c.owner)
    .where(sessions.c.id == sa.bindparam("session_id"))
)


def known_sessions(scope: Scope) -> sa.Select[tuple[str]]:
    """The ids of the sessions an actor owns or was granted, as a query."""
    if scope.actor.kind == "link":
        return sa.select(sessions.c.id).where(sessions.c.id == scope.actor.link_session)
    granted = sa.select(grants.c.session).where(
        grants.c.subject == scope.actor.id,
        sa.or_(grants.c.expires_at.is_(None), grants.c.expires_at > scope.now),
    )
    return sa.select(sessions.c.id).where(sa.or_(sessions.c.owner == scope.actor.id, sessions.c.id.in_(granted)))


@resolves("session")
def resolve_session(scope: Scope, ref: str) -> str | None:
    """`name` or `owner/name` -> id; one's own comes first. Raises Conflict when several are meant."""
    name = rules.parse(ref)
    if name is None:
        return None
    query = (
        sa.select(sessions.c.id, sessions.c.owner, persons.c.handle)
        .join(persons, persons.c.id == sessions.c.owner)
        .where(sessions.c.name == name.name)
    )
    if name.owner is not None:
        return scope.execute(
            query.where(
                persons.c.handle == name.owner,
                sa.or_(sessions.c.id.in_(known_sessions(scope)), sessions.c.visibility == "hub"),
            )
        ).scalar()
    found = scope.execute(query.where(sessions.c.id.in_(known_sessions(scope)))).all()
    if len(found) > 1:
        mine = [row for row in found if row.owner == scope.actor.id]
        if len(mine) == 1:
            return str(mine[0].id)
        raise Conflict(
            f"several sessions are called {ref!r}",
            code="ambiguous_session",
            path="$.params.session_id",
            errors=sorted(f"{row.handle}/{name.name}" for row in found),
            hint="say which one as owner/name",
        )
    return str(found[0].id) if found else None


def full_name(scope: Scope, session_id: str) -> str:
    """`owner/name` of a session."""
    row = scope.execute(_FULL_NAME, {"session_id": session_id}).one()
    return f"{row.handle}/{row.name}"


def room_url(scope: Scope, session_id: str) -> str:
    """The address of a session's room."""
    return f"{scope.settings.origin}/s/{full_name(scope, session_id)}"
