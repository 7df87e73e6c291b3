"""The queue of raised hands as somebody in the room sees it."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.keys import unseal
from hub.rooms.hands.tables import room_hands
from hub.sessions import belonging


class HandView(msgspec.Struct, frozen=True, kw_only=True):
    """A raised hand; `place` counts from 1 over all of them, those one is not shown too."""

    person: str
    name: str
    place: int
    question: str
    quiet: bool
    at: str


def hands(scope: Scope, ref: str) -> list[HandView]:
    """Whose hand is up, first come first; nobody's who may not be here any more.

    Quiet ones are seen by who moderates and by their owners only.
    """
    session_id = scope.access.session(ref, "room:join")
    moderates = scope.access.may(session_id, "room:moderate")
    rows = scope.execute(
        sa.select(room_hands).where(room_hands.c.session == session_id).order_by(room_hands.c.turn)
    ).all()
    here = belonging.may_be_here(scope, session_id, {row.person for row in rows}) if rows else set()
    found = []
    for place, row in enumerate((row for row in rows if row.person in here), 1):
        if row.quiet and not moderates and row.person != scope.actor.id:
            continue
        question = ""
        if row.question_sealed:
            key = scope.house.keys.domain(session_id)
            question = unseal(key, row.question_sealed, about(session_id, row.person)).decode()
        found.append(
            HandView(person=row.person, name=row.name, place=place, question=question, quiet=row.quiet, at=iso(row.at))
        )
    return found


def about(session_id: str, person: str) -> str:
    """What a sealed question is bound to."""
    return f"hand:{session_id}:{person}"
