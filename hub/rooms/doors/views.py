"""How a room's door stands, for whom, and who waits before it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.database import Tx
from hub.core.house import House
from hub.rooms.doors.tables import room_doors, room_waiting


class WaitingView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in the lobby."""

    person: str
    name: str
    asked: str


class DoorView(msgspec.Struct, frozen=True, kw_only=True):
    """The door, and for those who moderate, who waits."""

    state: str  # open | lobby | locked
    waiting: list[WaitingView]


def door(scope: Scope, ref: str) -> DoorView:
    """The door of a session's room."""
    session_id = scope.access.session(ref, "room:join")
    found = state(scope.conn, session_id)
    waiting: list[WaitingView] = []
    if found == "lobby" and scope.access.may(session_id, "room:moderate"):
        lately = scope.now - dt.timedelta(seconds=limits.LOBBY_SECONDS)
        rows = scope.execute(
            sa.select(room_waiting)
            .where(room_waiting.c.session == session_id, room_waiting.c.answer == "waiting")
            .where(room_waiting.c.asked_at >= lately)
            .order_by(room_waiting.c.asked_at)
            .limit(limits.PAGE_ITEMS)
        )
        waiting = [WaitingView(person=row.person, name=row.name, asked=iso(row.asked_at)) for row in rows]
    return DoorView(state=found, waiting=waiting)


def state(conn: sa.Connection, session_id: str) -> str:
    """open, lobby or locked."""
    found = conn.execute(sa.select(room_doors.c.state).where(room_doors.c.session == session_id)).scalar()
    return "open" if found is None else str(found)


def stands(scope: Scope, session_id: str) -> str:
    """How the door stands for the actor: open | lobby | locked | out (they were turned away)."""
    found = state(scope.conn, session_id)
    if found == "open" or scope.access.may(session_id, "room:moderate"):
        return "open"
    answer = scope.execute(
        sa.select(room_waiting.c.answer).where(
            room_waiting.c.session == session_id, room_waiting.c.person == scope.actor.id
        )
    ).scalar()
    return {"in": "open", "out": "out"}.get(answer or "", found)


def inside(house: House, people: Collection[tuple[str, str, str]]) -> None:
    """Note who is in a room (session, person, name) while its door is shut: it is open to them until it is set anew.

    Their node may be killed, and no other one knows that they were there.
    """
    with house.db.read() as conn:
        sessions = {session for session, _, _ in people}
        shut = set(
            conn.execute(
                sa.select(room_doors.c.session).where(room_doors.c.session.in_(sessions), room_doors.c.state != "open")
            ).scalars()
        )
        if not shut:
            return
        rows = conn.execute(
            sa.select(room_waiting.c.session, room_waiting.c.person).where(room_waiting.c.session.in_(shut))
        )
        known = {(row.session, row.person) for row in rows}
    new = [one for one in people if one[0] in shut and one[:2] not in known]
    now = house.clock.now()

    def work(tx: Tx) -> None:
        for session, person, name in new:
            tx.insert_new(room_waiting, session=session, person=person, name=name, asked_at=now, answer="in")

    if new:
        house.db.write(work)


def ask(tx: Tx, session_id: str, person: str, name: str, now: dt.datetime) -> bool:
    """Write down that somebody stands in the lobby; True when those who moderate are to be told of a new one."""
    lately = now - dt.timedelta(seconds=limits.LOBBY_SECONDS)
    new = tx.insert_new(room_waiting, session=session_id, person=person, name=name, asked_at=now, answer="waiting")
    mine = (room_waiting.c.session == session_id) & (room_waiting.c.person == person)
    back = tx.execute(sa.select(room_waiting.c.asked_at).where(mine)).scalar_one() < lately
    if not new:
        tx.execute(sa.update(room_waiting).where(mine).values(asked_at=now, name=name))
    return new or back
