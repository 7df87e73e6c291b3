"""Changing a session itself: what it is called, who may look in, who owns it, and leaving it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import features, limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.ids import looks_like_id
from hub.people import accounts
from hub.sessions import grants, names, removal, rules
from hub.sessions.tables import grants as grants_table
from hub.sessions.tables import sessions

Ref = Annotated[str, Meta(min_length=1, max_length=200)]


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the session's room is to offer from now on; what is not named stays as it is."""

    live_cursor: bool | msgspec.UnsetType = msgspec.UNSET
    voice_chat: bool | msgspec.UnsetType = msgspec.UNSET
    screen_sharing: bool | msgspec.UnsetType = msgspec.UNSET
    private_messages: bool | msgspec.UnsetType = msgspec.UNSET


class ChangeSession(Action, frozen=True, tag="session_change"):
    """Change a session: its title, who may look in, how much of it cards may say in a chat, what its room offers.

    `visibility` is `session` (only who takes part) or `hub` (every member of this hub may look). `chat_detail` is
    `full`, `names` or `ids`. Whoever is in the room is told of a switched feature within a second.
    """

    session_id: Ref
    title: Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARACTERS)] | None = None
    visibility: Literal["session", "hub"] | None = None
    chat_detail: Literal["full", "names", "ids"] | None = None
    features: Switches | None = None


class ChangedView(msgspec.Struct, frozen=True):
    """The session as it is now."""

    session: str
    name: str
    title: str
    visibility: str
    chat_detail: str
    url: str
    features: dict[str, bool]  # every one of them, said or not


@handles(ChangeSession, needs="session:change")
def change_session(act: ChangeSession, ctx: Context) -> ChangedView:
    """Only what is named is changed."""
    session_id = ctx.access.session(act.session_id, "session:change")
    title = None if act.title is None else rules.checked_title(act.title, "$.params.title")
    if title == "":
        raise InvalidInput("a title has at least one character", path="$.params.title")
    asked = {"title": title, "visibility": act.visibility, "chat_detail": act.chat_detail}
    values: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    switched = {} if act.features is None else msgspec.to_builtins(act.features)
    if not values and not switched:
        raise InvalidInput(
            "nothing to change was named", path="$.params", hint="name a title, a visibility, a chat_detail or features"
        )
    before = ctx.execute(sa.select(sessions).where(sessions.c.id == session_id).with_for_update()).one()
    if act.visibility == "hub" and before.personal:
        raise NotAllowed("a personal session is not opened to the hub", code="personal_session", hint="share another")
    if switched:
        values["features"] = {**before.features, **switched}
    row = ctx.execute(sa.update(sessions).where(sessions.c.id == session_id).values(**values).returning(sessions)).one()
    ctx.about(
        "session",
        session_id,
        session_id,
        visibility=row.visibility,
        chat_detail=row.chat_detail,
        **({"features": row.features} if switched else {}),
    )
    return ChangedView(
        session=session_id,
        name=names.full_name(ctx, session_id),
        title=row.title,
        visibility=row.visibility,
        chat_detail=row.chat_detail,
        url=names.room_url(ctx, session_id),
        features=features.every(row.features),
    )


class HandOverSession(Action, frozen=True, tag="session_hand_over"):
    """Hand your session over to one of its admins; you stay as an admin.

    The session is called `theirs/NAME` from then on; `name` gives it another name there.
    """

    session_id: Ref
    to: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class HandedOverView(msgspec.Struct, frozen=True):
    """Who owns the session now, and its name."""

    session: str
    name: str
    url: str
    owner: str
    before: str


@handles(HandOverSession, needs="session:hand_over")
def hand_over_session(act: HandOverSession, ctx: Context) -> HandedOverView:
    """Ownership moves in one step: there is no moment with two owners, or none."""
    session_id = grants.settled(ctx, act.session_id, "session:hand_over")
    row = ctx.execute(sa.select(sessions).where(sessions.c.id == session_id).with_for_update()).one()
    if row.owner != ctx.actor.id:
        raise NotAllowed("only the owner hands a session over", code="not_owner")
    if row.personal:
        raise NotAllowed("a personal session stays with its person", code="personal_session")
    heir = act.to if looks_like_id(act.to, "per") else accounts.by_handle(ctx.conn, act.to)
    held = [] if heir is None else grants.held(ctx, session_id, heir)
    if heir is None or accounts.actor_of(ctx.conn, heir) is None or not held:
        raise NotFound(f"{act.to[:60]!r} does not take part in this session", code="participant_not_found")
    if "admin" not in held:
        raise NotAllowed(
            "a session is handed over to one of its admins",
            code="heir_not_admin",
            hint="make them an admin first with grant_change",
        )
    name = row.name if act.name is None else rules.checked_slug(act.name, "$.params.name")
    taken = ctx.execute(sa.select(sessions.c.id).where(sessions.c.owner == heir, sessions.c.name == name)).first()
    if taken is not None:
        raise Conflict(
            f"they have a session {name!r} already", code="name_taken", path="$.params.name", hint="give another name"
        )
    ctx.execute(sa.update(sessions).where(sessions.c.id == session_id).values(owner=heir, name=name))
    grants.take(ctx, session_id, heir)
    ctx.execute(
        sa.insert(grants_table).values(
            session=session_id,
            subject=ctx.actor.id,
            via="share",
            role="admin",
            by=ctx.actor.id,
            expires_at=None,
            at=ctx.now,
        )
    )
    ctx.access.forget_roles()
    ctx.about("session", session_id, session_id, before=ctx.actor.id, owner=heir)
    return HandedOverView(
        session_id, names.full_name(ctx, session_id), names.room_url(ctx, session_id), heir, ctx.actor.id
    )


class LeaveSession(Action, frozen=True, tag="session_leave"):
    """Leave a session you take part in; what you made in it stays."""

    session_id: Ref


class LeftView(msgspec.Struct, frozen=True):
    """The session that was left, and the links of yours that ended with it."""

    session: str
    name: str
    links_ended: list[str]


@handles(LeaveSession, needs="session:leave")
def leave_session(act: LeaveSession, ctx: Context) -> LeftView:
    """Every grant goes, and with it what the person gave out."""
    session_id = grants.settled(ctx, act.session_id, "session:leave")
    if ctx.access.role(session_id) == "owner":
        raise NotAllowed(
            "the owner of a session does not leave it", code="owner_stays", hint="hand it over first, to an admin"
        )
    name = names.full_name(ctx, session_id)
    ended = removal.remove(ctx, session_id, ctx.actor.id)
    ctx.access.forget_roles()
    ctx.about("session", session_id, session_id, person=ctx.actor.id)
    return LeftView(session_id, name, ended.links)
