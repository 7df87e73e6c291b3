"""What can be read of sessions: which ones, who takes part, which links are out."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Scope
from hub.people import views as people
from hub.sessions import belonging, invitations, names, rules
from hub.sessions.belonging import ParticipantView
from hub.sessions.invitations import InvitationRow
from hub.sessions.tables import links, sessions


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as one who takes part sees it."""

    id: str
    name: str
    title: str
    owner: people.PersonView
    role: str | None
    visibility: str  # session | hub: only who takes part, or every member of the hub may look
    chat_detail: str  # full | names | ids: how much of its cards leaves for a chat company's servers
    personal: bool
    features: dict[str, bool]
    not_served_yet: list[str]
    created: str
    url: str


class LinkRow(msgspec.Struct, frozen=True, kw_only=True):
    """An expiring link, without its secret."""

    id: str
    label: str
    role: str
    target: str
    created: str
    created_by: str
    expires: str
    uses: int
    uses_left: int | None
    has_passphrase: bool
    state: str  # open | expired | revoked | used up


class ParticipantsView(msgspec.Struct, frozen=True, kw_only=True):
    """Who can come in, and by what."""

    participants: list[ParticipantView]
    invitations: list[InvitationRow]


def session(scope: Scope, ref: str) -> SessionView:
    """One session."""
    session_id = scope.access.session(ref, "session:read")
    row = scope.execute(sa.select(sessions).where(sessions.c.id == session_id)).one()
    return _view(scope, row, people.person(scope, row.owner))


def mine(scope: Scope) -> list[SessionView]:
    """The sessions the actor owns or was granted, newest first."""
    rows = scope.execute(
        sa.select(sessions)
        .where(sessions.c.id.in_(names.known_sessions(scope)))
        .order_by(sessions.c.personal.desc(), sessions.c.created_at.desc())
        .limit(limits.PAGE_ITEMS)
    ).all()
    owners = people.people(scope, {row.owner for row in rows})
    return [_view(scope, row, owners[row.owner]) for row in rows]


def earlier(scope: Scope, before: str) -> list[SessionView]:
    """The same as pages: those made before the session of this id (`newest` begins), newest first."""
    query = sa.select(sessions).where(sessions.c.id.in_(names.known_sessions(scope)))
    if before != "newest":
        query = query.where(sessions.c.id < before)
    rows = scope.execute(query.order_by(sessions.c.id.desc()).limit(limits.PAGE_ITEMS)).all()
    owners = people.people(scope, {row.owner for row in rows})
    return [_view(scope, row, owners[row.owner]) for row in rows]


def _view(scope: Scope, row: sa.Row[tuple[object, ...]], owner: people.PersonView) -> SessionView:
    name = f"{owner.handle}/{row.name}"
    return SessionView(
        id=row.id,
        name=name,
        title=row.title,
        owner=owner,
        role=scope.access.role(row.id),
        visibility=row.visibility,
        chat_detail=row.chat_detail,
        personal=row.personal,
        features=row.features,
        not_served_yet=sorted(f for f, on in row.features.items() if on and f not in rules.SERVED_FEATURES),
        created=iso(row.created_at),
        url=f"{scope.settings.origin}/s/{name}",
    )


def features(conn: sa.Connection, session_ids: set[str]) -> dict[str, dict[str, bool]]:
    """What the rooms of these sessions offer now, by session: for the live process, which asks for many at once."""
    rows = conn.execute(sa.select(sessions.c.id, sessions.c.features).where(sessions.c.id.in_(session_ids)))
    return {row.id: row.features for row in rows}


def participants(scope: Scope, ref: str) -> ParticipantsView:
    """Owner first, then everybody granted a role; invitations for those who may share."""
    session_id = scope.access.session(ref, "people:read")
    invited = invitations.open_ones(scope, session_id) if scope.access.may(session_id, "session:share") else []
    return ParticipantsView(participants=belonging.participants(scope, session_id), invitations=invited)


def session_links(scope: Scope, ref: str) -> list[LinkRow]:
    """The links of a session, newest first."""
    session_id = scope.access.session(ref, "link:read")
    rows = scope.execute(
        sa.select(links).where(links.c.session == session_id).order_by(links.c.created_at.desc())
    ).all()
    return [
        LinkRow(
            id=row.id,
            label=row.label,
            role=row.role,
            target=row.target,
            created=iso(row.created_at),
            created_by=row.created_by,
            expires=iso(row.expires_at),
            uses=row.uses,
            uses_left=row.uses_left,
            has_passphrase=row.passphrase is not None,
            state=_state(scope, row),
        )
        for row in rows
    ]


def _state(scope: Scope, row: sa.Row[tuple[object, ...]]) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= scope.now:
        return "expired"
    return "used up" if row.uses_left == 0 else "open"
