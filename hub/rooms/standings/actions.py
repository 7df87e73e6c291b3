"""Letting somebody speak, show or write in a room whose role would not, or asking them to look on."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.access import gives_room_standing
from hub.core.actions import Action, handles
from hub.core.context import Context, Scope
from hub.core.errors import NotAllowed
from hub.core.roles import SESSION_PERMISSIONS, RoomStanding, strongest
from hub.rooms.names import Ref
from hub.rooms.standings.tables import room_standings
from hub.sessions import grants


class SetStanding(Action, frozen=True, kw_only=True, tag="room_standing"):
    """Say what one person may do in a session's room: present (all of it), speak, write, observe, or
    caption (write, and put into words what is said).

    Without a `standing` their role in the session decides again.
    """

    session_id: Ref | None = None
    person: Ref
    standing: RoomStanding | None = None


class StandingSet(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may do in the room from now on; None: what their role says."""

    session: str
    person: str
    standing: RoomStanding | None


@gives_room_standing
def standing_of(scope: Scope, session_id: str, person: str) -> RoomStanding | None:
    """What a moderator said of somebody in this room."""
    here = (room_standings.c.session == session_id) & (room_standings.c.person == person)
    found: RoomStanding | None = scope.execute(sa.select(room_standings.c.standing).where(here)).scalar()
    return found


@handles(SetStanding, needs="room:moderate")
def set_standing(act: SetStanding, ctx: Context) -> StandingSet:
    """Never of somebody who moderates too: they would only take it back."""
    session_id = ctx.access.session(act.session_id, "room:moderate")
    person = grants.participant(ctx, session_id, act.person, "$.params.person")
    role = strongest(grants.held(ctx, session_id, person))
    if role is None or "room:moderate" in SESSION_PERMISSIONS[role]:
        raise NotAllowed("who moderates the room themselves is not told what they may do in it")
    here = (room_standings.c.session == session_id) & (room_standings.c.person == person)
    ctx.execute(sa.delete(room_standings).where(here))
    if act.standing is not None:
        ctx.tx.insert(
            room_standings, session=session_id, person=person, standing=act.standing, by=ctx.actor.id, at=ctx.now
        )
    ctx.about("session", session_id, session_id, person=person, standing=act.standing)
    return StandingSet(session=session_id, person=person, standing=act.standing)
