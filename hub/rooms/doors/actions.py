"""Opening and closing a room's door, letting somebody in, and quiet: what whoever moderates may ask for."""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import NotFound
from hub.rooms.doors.tables import room_doors, room_waiting
from hub.rooms.names import Ref
from hub.sessions import grants


class SetDoor(Action, frozen=True, kw_only=True, tag="room_door"):
    """Set the door of a session's room: open, a lobby where people wait to be let in, or locked.

    Whoever is inside stays, and finds the way back for as long as the door stands so.
    """

    session_id: Ref | None = None
    state: Literal["open", "lobby", "locked"]


class Admit(Action, frozen=True, kw_only=True, tag="room_admit"):
    """Let somebody in who waits in the lobby, or turn them away (`admit: false`)."""

    session_id: Ref | None = None
    person: Ref
    admit: bool = True


class Mute(Action, frozen=True, kw_only=True, tag="room_mute"):
    """Switch off the microphone of one person in the room, or of everybody who does not moderate.

    `camera` switches that off too. Whoever may speak can switch it on again.
    """

    session_id: Ref | None = None
    person: Ref | None = None
    camera: bool = False


class DoorSet(msgspec.Struct, frozen=True, kw_only=True):
    """The door as it is now."""

    session: str
    state: str


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Who was let in or turned away."""

    session: str
    person: str
    name: str
    admitted: bool


class Muted(msgspec.Struct, frozen=True, kw_only=True):
    """Whose microphone was asked to be off; None: everybody's."""

    session: str
    person: str | None


@handles(SetDoor, needs="room:moderate")
def set_door(act: SetDoor, ctx: Context) -> DoorSet:
    """With another state whoever waited is forgotten: a new lobby asks anew."""
    session_id = ctx.access.session(act.session_id, "room:moderate")
    ctx.tx.insert_new(room_doors, session=session_id, state="open", by=ctx.actor.id, at=ctx.now)
    of_room = room_doors.c.session == session_id
    before = ctx.execute(sa.select(room_doors.c.state).where(of_room).with_for_update()).scalar_one()
    if before != act.state:
        ctx.execute(sa.update(room_doors).where(of_room).values(state=act.state, by=ctx.actor.id, at=ctx.now))
        ctx.execute(sa.delete(room_waiting).where(room_waiting.c.session == session_id))
    ctx.about("session", session_id, session_id, state=act.state)
    return DoorSet(session=session_id, state=act.state)


@handles(Admit, needs="room:moderate")
def admit(act: Admit, ctx: Context) -> Admitted:
    """Who was turned away is let in by saying so later, as long as the lobby stands."""
    session_id = ctx.access.session(act.session_id, "room:moderate")
    which = (room_waiting.c.session == session_id) & (room_waiting.c.person == act.person)
    name = ctx.execute(
        sa.update(room_waiting).where(which).values(answer="in" if act.admit else "out").returning(room_waiting.c.name)
    ).scalar()
    if name is None:
        raise NotFound("they do not wait in the lobby of this room", code="not_waiting", path="$.params.person")
    ctx.about("session", session_id, session_id, person=act.person, admitted=act.admit)
    return Admitted(session=session_id, person=act.person, name=name, admitted=act.admit)


@handles(Mute, needs="room:moderate")
def mute(act: Mute, ctx: Context) -> Muted:
    """What happens in the room is the live process' affair; it follows the ledger."""
    session_id = ctx.access.session(act.session_id, "room:moderate")
    person = act.person
    if person is not None and not person.startswith("guest:"):  # who came by a link is in no list
        person = grants.participant(ctx, session_id, person, "$.params.person")
    ctx.about("session", session_id, session_id, person=person, camera=act.camera)
    return Muted(session=session_id, person=person)
