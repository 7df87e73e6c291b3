"""Roles of those who take part: changed and taken, by somebody else than themselves."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import NotAllowed, NotFound
from hub.core.ids import looks_like_id
from hub.people import accounts
from hub.people.tables import persons
from hub.sessions import grants, invitations, removal
from hub.sessions.tables import grants as grants_table
from hub.sessions.tables import invitations as invitations_table
from hub.sessions.tables import sessions

Ref = Annotated[str, Meta(min_length=1, max_length=200)]
Role = Literal["read", "read_write", "admin"]


class ChangeGrant(Action, frozen=True, tag="grant_change"):
    """Give somebody who takes part another role."""

    session_id: Ref
    participant: Annotated[str, Meta(max_length=64)]
    role: Role


class GrantView(msgspec.Struct, frozen=True):
    """Who has which role now; no role when it was taken.

    `links_ended` are the links the person had made, which ended with the right to make them. `still_open` are links
    they came by and could open again: revoke those too, when they are to stay out.
    """

    session: str
    person: str
    role: str | None
    links_ended: list[str] = []
    still_open: list[str] = []


@handles(ChangeGrant, needs="session:share")
def change_grant(act: ChangeGrant, ctx: Context) -> GrantView:
    """One grant replaces all earlier ones of this person, and ends when the last of them would have ended."""
    session_id = grants.settled(ctx, act.session_id, "session:share")
    person = _participant(ctx, session_id, act.participant)
    grants.refuse_above_own(ctx, session_id, act.role)
    ends = ctx.execute(
        sa.select(grants_table.c.expires_at).where(
            grants_table.c.session == session_id, grants_table.c.subject == person, grants.lasting(ctx.now)
        )
    ).scalars().all()  # fmt: skip
    until = None if not ends or None in ends else max(ends)
    grants.take(ctx, session_id, person)
    grants.give(ctx, session_id, person, act.role, via="share", expires_at=until)
    ended = removal.lowered(ctx, session_id, person, act.role)
    ctx.about("session", session_id, session_id, person=person, role=act.role)
    return GrantView(session_id, person, act.role, ended)


class RevokeGrant(Action, frozen=True, tag="grant_revoke"):
    """Take somebody's role away, or withdraw an invitation; it holds at once, on every surface."""

    session_id: Ref
    participant: Annotated[str, Meta(max_length=64)]


@handles(RevokeGrant, needs="session:share")
def revoke_grant(act: RevokeGrant, ctx: Context) -> GrantView:
    """Every grant goes, whatever way it came, and the links and invitations the person had made go with it."""
    session_id = grants.settled(ctx, act.session_id, "session:share")
    if looks_like_id(act.participant, "inv"):
        _withdraw(ctx, session_id, act.participant)
        ctx.about("invitation", act.participant, session_id)
        return GrantView(session_id, act.participant, None)
    person = _participant(ctx, session_id, act.participant)
    ended = removal.remove(ctx, session_id, person)
    ctx.about("session", session_id, session_id, person=person)
    return GrantView(session_id, person, None, ended.links, ended.still_open)


def _withdraw(ctx: Context, session_id: str, invitation: str) -> None:
    if not invitations.withdraw(ctx, session_id, invitations_table.c.id == invitation):
        raise NotFound("there is no such open invitation", code="invitation_not_found")


def refuse_own(ctx: Context, person: str) -> None:
    """Nobody lowers or raises themselves, by accident or otherwise. Raises NotAllowed."""
    if person == ctx.actor.id:
        raise NotAllowed(
            "your own role is changed by another admin or the owner",
            code="own_role",
            hint="to go, use session_leave; an owner hands over with session_hand_over",
        )


def refuse_owner(ctx: Context, session_id: str, person: str) -> None:
    """Raises NotAllowed when the person owns the session."""
    if person == ctx.execute(sa.select(sessions.c.owner).where(sessions.c.id == session_id)).scalar():
        raise NotAllowed("the owner of a session keeps it", code="owner_stays")


def _participant(ctx: Context, session_id: str, ref: str) -> str:
    """The person meant by an id or handle: one who takes part, and neither the owner nor the actor."""
    person = accounts.named(ctx.conn, ref)
    found = None
    if person is not None:
        refuse_owner(ctx, session_id, person)
        refuse_own(ctx, person)
        found = ctx.execute(
            sa.select(persons.c.id)
            .join(grants_table, grants_table.c.subject == persons.c.id)
            .where(grants_table.c.session == session_id, persons.c.id == person)
        ).first()
    if found is None:
        raise NotFound(f"{ref[:60]!r} does not take part in this session", code="participant_not_found")
    return str(found.id)
