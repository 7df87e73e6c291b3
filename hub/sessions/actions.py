"""Sharing a workspace: making sessions and letting people in."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.ids import looks_like_id
from hub.people import accounts
from hub.people import rules as people_rules
from hub.sessions import granting, grants, names, rules
from hub.sessions.invitations import InvitationView, invite
from hub.sessions.tables import sessions

Ref = Annotated[str, Meta(min_length=1, max_length=200)]
Moment = Annotated[dt.datetime, Meta(tz=True)]
Role = Literal["read", "read_write", "admin"]


class Participant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to share with, by the address they are known under."""

    email: Annotated[str, Meta(max_length=254)]
    role: Role = "read"


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the session's room is to offer."""

    live_cursor: bool = False
    voice_chat: bool = False
    screen_sharing: bool = False
    private_messages: bool | msgspec.UnsetType = msgspec.UNSET  # on unless switched off


class ShareSession(Action, frozen=True, tag="session_share"):
    """Share a session with people, and say what its room offers; makes the session when it is not there."""

    session_id: Ref | None = None
    participants: Annotated[tuple[Participant, ...], Meta(max_length=limits.PARTICIPANTS_PER_REQUEST)] = ()
    expires: Moment | None = None
    real_time: bool = False
    features: Features | None = None


class SharedView(msgspec.Struct, frozen=True):
    """What sharing did."""

    session: str
    name: str
    made: bool
    url: str
    granted: list[str]
    invitations: list[InvitationView]
    features: dict[str, bool]
    not_served_yet: list[str]
    expires: str | None


@handles(ShareSession, needs="session:share")
def share_session(act: ShareSession, ctx: Context) -> SharedView:
    """Grant known (verified) people their role, invite the others, set the room's features.

    The owner keeps the session whatever is said of them, and nobody changes their own role by naming themselves.
    """
    rules.checked_expiry(act.expires, ctx.now)
    session_id, made = _found_or_made(act, ctx)
    if act.features is not None or act.real_time:
        features = msgspec.to_builtins(act.features) if act.features else {}
        if act.real_time:
            features["live_cursor"] = features.get("live_cursor", True)
        ctx.execute(sa.update(sessions).where(sessions.c.id == session_id).values(features=features))
    granted: list[str] = []
    invited: list[InvitationView] = []
    for index, participant in enumerate(act.participants):
        email = people_rules.normal_email(participant.email)
        person = accounts.by_verified_email(ctx.conn, email)
        if person is not None:
            granting.refuse_own(ctx, person)
            granting.refuse_owner(ctx, session_id, person)
            grants.give(ctx, session_id, person, participant.role, via="share", expires_at=act.expires)
            granted.append(person)
        else:
            grants.refuse_above_own(ctx, session_id, participant.role)
            invited.append(invite(ctx, session_id, email, participant.role, act.expires, len(invited)))
        if any(p.email.lower() == participant.email.lower() for p in act.participants[:index]):
            raise InvalidInput("the same address twice", path=f"$.params.participants[{index}].email")
    row = ctx.execute(sa.select(sessions).where(sessions.c.id == session_id)).one()
    ctx.about(
        "session",
        session_id,
        session_id,
        made=made,
        granted=[{"person": p} for p in granted],
        invited=[i.invitation for i in invited],
        features=row.features,
    )
    return SharedView(
        session=session_id,
        name=names.full_name(ctx, session_id),
        made=made,
        url=names.room_url(ctx, session_id),
        granted=granted,
        invitations=invited,
        features=row.features,
        not_served_yet=sorted(f for f, on in row.features.items() if on and f not in rules.SERVED_FEATURES),
        expires=None if act.expires is None else iso(act.expires),
    )


def _found_or_made(act: ShareSession, ctx: Context) -> tuple[str, bool]:
    ref = act.session_id
    if ref is not None:
        try:
            return grants.settled(ctx, ref, "session:share"), False
        except NotFound:
            if "/" in ref or looks_like_id(ref):
                raise
            rules.checked_slug(ref, "$.params.session_id")
    # A name nobody here has yet makes a session of the actor's own; without a name, one named after the day.
    ctx.access.hub("session:create")
    wanted = ref or f"shared-{ctx.now:%Y-%m-%d}"
    taken = frozenset(ctx.execute(sa.select(sessions.c.name).where(sessions.c.owner == ctx.actor.id)).scalars())
    name = rules.free_name(wanted, taken) if ref is None else wanted
    session_id = grants.make(ctx.tx, owner=ctx.actor.id, name=name, title=name, now=ctx.now)
    ctx.access.forget_roles()
    return grants.settled(ctx, session_id, "session:share"), True


class CreateSession(Action, frozen=True, tag="session_create"):
    """Make a session of your own."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    title: Annotated[str, Meta(max_length=limits.TITLE_CHARACTERS)] = ""


class MadeView(msgspec.Struct, frozen=True):
    """A fresh session."""

    session: str
    name: str
    url: str


@handles(CreateSession, needs="session:create")
def create_session(act: CreateSession, ctx: Context) -> MadeView:
    """A name is unique per owner."""
    ctx.access.hub("session:create")
    name = rules.checked_slug(act.name, "$.params.name")
    title = rules.checked_title(act.title, "$.params.title") or name
    taken = ctx.execute(
        sa.select(sessions.c.id).where(sessions.c.owner == ctx.actor.id, sessions.c.name == name)
    ).first()
    if taken is not None:
        raise Conflict(f"you have a session {name!r} already", code="name_taken", path="$.params.name")
    session_id = grants.make(ctx.tx, owner=ctx.actor.id, name=name, title=title, now=ctx.now)
    ctx.about("session", session_id, session_id)
    return MadeView(session_id, names.full_name(ctx, session_id), names.room_url(ctx, session_id))
