"""Raising a hand, and being called upon: an ordered queue, so that nobody is passed over."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import credentials, limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import NotFound
from hub.core.keys import seal
from hub.rooms import rules
from hub.rooms.hands import views
from hub.rooms.hands.tables import room_hands
from hub.rooms.names import Ref
from hub.sessions import belonging, removal


class RaiseHand(Action, frozen=True, kw_only=True, tag="room_hand"):
    """Raise your hand in a session's room, perhaps with a question, or lower it (`up: false`).

    A `quiet` one is seen by those who moderate, and by nobody else.
    """

    session_id: Ref | None = None
    up: bool = True
    question: Annotated[str, Meta(max_length=limits.HAND_CHARACTERS)] = ""
    quiet: bool = False


class AddressHand(Action, frozen=True, kw_only=True, tag="room_hand_addressed"):
    """Say that a raised hand was called upon: `person`'s, or that of whoever is first; it goes down with that."""

    session_id: Ref | None = None
    person: Ref | None = None


class HandRaised(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one's hand is up, and how many are before it."""

    session: str
    up: bool
    before: int


class HandAddressed(msgspec.Struct, frozen=True, kw_only=True):
    """Whose hand it was, and how many are up still."""

    session: str
    person: str
    name: str
    left: int


@handles(RaiseHand, needs="room:join")
def raise_hand(act: RaiseHand, ctx: Context) -> HandRaised:
    """A hand that is up keeps its place; whoever lowers it and raises it again is last."""
    session_id = ctx.access.session(act.session_id, "room:join")
    ctx.tx.alone(f"hands:{session_id}")
    _lower_of_gone(ctx, session_id)
    mine = (room_hands.c.session == session_id) & (room_hands.c.person == ctx.actor.id)
    old = ctx.execute(sa.select(room_hands).where(mine)).first()
    ctx.execute(sa.delete(room_hands).where(mine))
    of_room = room_hands.c.session == session_id
    last = ctx.execute(sa.select(sa.func.max(room_hands.c.turn)).where(of_room)).scalar() or 0
    turn = last + 1 if old is None else old.turn
    if act.up:
        question = rules.clean_text(act.question)
        credentials.refuse(question, "$.params.question")
        key = ctx.house.keys.domain_in(ctx.tx, session_id)
        ctx.tx.insert(
            room_hands,
            session=session_id,
            person=ctx.actor.id,
            name=ctx.actor.name,
            turn=turn,
            question_sealed=seal(key, question.encode(), views.about(session_id, ctx.actor.id)) if question else b"",
            quiet=act.quiet,
            at=ctx.now if old is None else old.at,
        )
    was_seen, is_seen = old is not None and not old.quiet, act.up and not act.quiet
    _note(ctx, session_id, is_quiet=not (was_seen or is_seen), up=act.up)
    before = ctx.execute(sa.select(sa.func.count()).where(of_room, room_hands.c.turn < turn)).scalar_one()
    return HandRaised(session=session_id, up=act.up, before=before if act.up else 0)


@handles(AddressHand, needs="room:moderate")
def address_hand(act: AddressHand, ctx: Context) -> HandAddressed:
    """Two who call upon the first at once call upon one person each."""
    session_id = ctx.access.session(act.session_id, "room:moderate")
    ctx.tx.alone(f"hands:{session_id}")
    _lower_of_gone(ctx, session_id)
    up = sa.select(room_hands).where(room_hands.c.session == session_id).order_by(room_hands.c.turn)
    if act.person is not None:
        up = up.where(room_hands.c.person == act.person)
    row = ctx.execute(up.limit(1)).first()
    if row is None:
        text = "no hand is up" if act.person is None else "that hand is not up (any more)"
        raise NotFound(text, code="no_hand", path="$.params.person" if act.person else "$.params.session_id")
    ctx.execute(sa.delete(room_hands).where(room_hands.c.session == session_id, room_hands.c.person == row.person))
    left = ctx.execute(sa.select(sa.func.count()).where(room_hands.c.session == session_id)).scalar_one()
    _note(ctx, session_id, is_quiet=row.quiet, person=row.person)
    return HandAddressed(session=session_id, person=row.person, name=row.name, left=left)


def _lower_of_gone(ctx: Context, session_id: str) -> None:
    """Rights also end by themselves, when a link or a grant expires: such hands are not shown, and go here."""
    of_room = room_hands.c.session == session_id
    up = set(ctx.execute(sa.select(room_hands.c.person).where(of_room)).scalars())
    gone = up - belonging.may_be_here(ctx, session_id, up)
    if gone:
        ctx.execute(sa.delete(room_hands).where(of_room, room_hands.c.person.in_(gone)))


def _lower_of_removed(ctx: Context, session_id: str, person: str) -> None:
    """Who leaves a session, or is removed, leaves no hand up; who comes back has to raise it again."""
    ctx.execute(sa.delete(room_hands).where(room_hands.c.session == session_id, room_hands.c.person == person))


removal.REMOVED.append(_lower_of_removed)


def _note(ctx: Context, session_id: str, *, is_quiet: bool, **facts: Any) -> None:
    """Write down what became of a hand; a quiet one in no line that others read, so moderators are told apart."""
    ctx.about("session", session_id, None if is_quiet else session_id, **facts)
    if is_quiet:
        ctx.publish(f"session:{session_id}", {"kind": "for_moderators", "what": "hand"})
