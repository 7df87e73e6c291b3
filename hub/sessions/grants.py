"""Rights in sessions: what gives them, takes them, and tells access which role counts."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from hub.core.access import Guarded, gives_default_session, gives_roles, guards
from hub.core.context import Actor, Context, Scope
from hub.core.database import Tx
from hub.core.errors import NotAllowed, NotFound
from hub.core.ids import new_id
from hub.core.roles import SESSION_PERMISSIONS, SessionRole, may_grant, strongest
from hub.people import accounts
from hub.people.tables import persons
from hub.sessions import rules
from hub.sessions.tables import grants, links, sessions

# Asked by every action, and so built once.
_VISIBILITY = sa.select(sessions.c.visibility).where(sessions.c.id == sa.bindparam("session_id"))
_OWNER = sa.select(sessions.c.owner).where(sessions.c.id == sa.bindparam("session_id"))
_PERSONAL = sa.select(sessions.c.id).where(sessions.c.owner == sa.bindparam("person"), sessions.c.personal.is_(True))


@guards("session")
def guard_session(conn: sa.Connection, session_id: str) -> Guarded | None:
    row = conn.execute(_VISIBILITY, {"session_id": session_id}).first()
    return None if row is None else Guarded(session_id, visibility=row.visibility)


def link_holds(now: dt.datetime) -> sa.ColumnElement[bool]:
    """Which links give rights: not revoked, not expired, and made by an account that is not disabled."""
    makers = sa.select(persons.c.id).where(persons.c.id == links.c.created_by, persons.c.disabled_at.is_not(None))
    return sa.and_(links.c.revoked_at.is_(None), links.c.expires_at > now, ~makers.correlate(links).exists())


@gives_roles
def role_of(scope: Scope, actor: Actor, session_id: str) -> SessionRole | None:
    """The strongest role an actor holds in a session now."""
    if actor.kind == "link":
        row = scope.execute(
            sa.select(links.c.role, links.c.session).where(links.c.id == actor.link_id, link_holds(scope.now))
        ).first()
        return row.role if row is not None and row.session == session_id else None
    if actor.kind != "person":
        return None
    owner = scope.execute(_OWNER, {"session_id": session_id}).scalar()
    if owner == actor.id:
        return "owner"
    return strongest(held(scope, session_id, actor.id))


@gives_default_session
def personal_session(scope: Scope) -> str | None:
    """What `session_id: null` means: the session a link leads to, else one's own."""
    if scope.actor.kind == "link":
        return scope.actor.link_session
    found: str | None = scope.execute(_PERSONAL, {"person": scope.actor.id}).scalar()
    return found


def _make_personal(tx: Tx, person_id: str, now: dt.datetime) -> None:
    handle = tx.execute(sa.select(persons.c.name).where(persons.c.id == person_id)).scalar()
    make(tx, owner=person_id, name=rules.PERSONAL, title=f"{handle}'s own", now=now, personal=True)


accounts.MADE.append(_make_personal)


def make(
    tx: Tx,
    *,
    owner: str,
    name: str,
    title: str,
    now: dt.datetime,
    personal: bool = False,
    features: dict[str, bool] | None = None,
) -> str:
    """A new session; returns its id."""
    session_id = new_id("ses")
    tx.execute(
        sa.insert(sessions).values(
            id=session_id,
            owner=owner,
            name=name,
            title=title,
            personal=personal,
            features=features or {"live_cursor": True},
            created_at=now,
        )
    )
    return session_id


def settled(ctx: Context, ref: str | None, permission: str) -> str:
    """As `access.session`, while nobody else gives or takes anything in that session.

    Who is removed in the same moment is removed before or after, and never gives something out in between.
    """
    session_id = ctx.access.session(ref, permission)
    ctx.execute(sa.select(sessions.c.id).where(sessions.c.id == session_id).with_for_update())
    ctx.access.forget_roles()
    return ctx.access.session(session_id, permission)


def give(
    ctx: Context, session_id: str, subject: str, role: SessionRole, *, via: str, expires_at: dt.datetime | None
) -> None:
    """Grant a role by one way, replacing what was granted by the same way. Raises NotAllowed above one's own."""
    refuse_above_own(ctx, session_id, role)
    values = {"role": role, "by": ctx.actor.id, "expires_at": expires_at, "at": ctx.now}
    if not ctx.tx.insert_new(grants, session=session_id, subject=subject, via=via, **values):
        ctx.execute(
            sa.update(grants)
            .where(grants.c.session == session_id, grants.c.subject == subject, grants.c.via == via)
            .values(**values)
        )


def refuse_above_own(ctx: Context, session_id: str, role: SessionRole) -> None:
    """Raises NotAllowed when the actor would give more than they have."""
    own = ctx.access.role(session_id)
    if ctx.actor.kind != "system" and (own is None or not may_grant(own, role)):
        raise NotAllowed(f"a {own} may not give the role {role}", code="role_above_own")


def held(scope: Scope, session_id: str, subject: str) -> list[SessionRole]:
    """The roles a subject was granted here and that have not ended, one for each way."""
    return list(
        scope.execute(
            sa.select(grants.c.role).where(
                grants.c.session == session_id, grants.c.subject == subject, lasting(scope.now)
            )
        ).scalars()
    )


def no_students(scope: Scope, session_id: str) -> frozenset[str]:
    """Who takes part in a class and is no student of it: its owner, who leads it, and whoever has another role only.

    Who has left is not among them, so that what they did as students stays the class's.
    """
    roles: dict[str, set[str]] = {}
    for row in scope.execute(
        sa.select(grants.c.subject, grants.c.role).where(grants.c.session == session_id, lasting(scope.now))
    ):
        roles.setdefault(row.subject, set()).add(row.role)
    owner = str(scope.execute(_OWNER, {"session_id": session_id}).scalar())
    others = {each for each, held in roles.items() if "student" not in held or held & {"teacher", "admin", "owner"}}
    return frozenset(others | {owner})


def who_may(scope: Scope, session_id: str, permission: str) -> list[str]:
    """The people whose role in a session, owner among them, holds a permission; in a fixed order."""
    roles = [role for role, held in SESSION_PERMISSIONS.items() if permission in held]
    granted = scope.execute(
        sa.select(grants.c.subject).where(grants.c.session == session_id, grants.c.role.in_(roles), lasting(scope.now))
    ).scalars()
    owner = str(scope.execute(_OWNER, {"session_id": session_id}).scalar())
    return sorted({*granted, *([owner] if "owner" in roles else [])})


def is_student(scope: Scope, session_id: str, person: str) -> bool:
    """Whether a person is in a class as one of its students."""
    return "student" in held(scope, session_id, person) and person not in no_students(scope, session_id)


def takes_part(scope: Scope, session_id: str, person: str) -> bool:
    """Whether a person owns the session or was granted a role in it that has not ended."""
    owner = scope.execute(_OWNER, {"session_id": session_id}).scalar()
    return owner == person or bool(held(scope, session_id, person))


def participant(scope: Scope, session_id: str, ref: str, path: str) -> str:
    """The person somebody means who takes part here. Raises NotFound, in the same words for whoever does not."""
    person = accounts.named(scope.conn, ref)
    if person is None or not takes_part(scope, session_id, person):
        text = f"nobody called {ref[:100]!r} takes part in this session"
        raise NotFound(text, code="person_not_found", path=path)
    return person


def lasting(now: dt.datetime) -> sa.ColumnElement[bool]:
    """The grants that have not ended by themselves."""
    return sa.or_(grants.c.expires_at.is_(None), grants.c.expires_at > now)


def take(ctx: Context, session_id: str, subject: str, via: str | None = None) -> int:
    """Take all grants (or those by one way) of a subject; returns how many there were."""
    condition = (grants.c.session == session_id) & (grants.c.subject == subject)
    if via is not None:
        condition &= grants.c.via == via
    return ctx.execute(sa.delete(grants).where(condition)).rowcount
