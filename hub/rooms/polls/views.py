"""Polls as somebody in the room sees them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.access import Guarded, guards
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.keys import unseal
from hub.people import views as people
from hub.rooms.polls.tables import room_poll_counts, room_polls, room_votes

_SHOWN = 20


class Asked(msgspec.Struct, frozen=True):
    """What a poll asks."""

    question: str
    options: tuple[str, ...]


class OptionView(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; `votes` is None while it is not shown, `voters` names whom in a named poll."""

    number: int  # from 1
    text: str
    votes: int | None
    voters: list[str]


class PollView(msgspec.Struct, frozen=True, kw_only=True):
    """A poll, open or closed, and what the reader chose."""

    id: str
    session: str
    question: str
    options: list[OptionView]
    anonymous: bool
    shown_at_end: bool
    votes: int
    mine: int | None
    by: people.PersonView
    at: str
    closed: str | None


@guards("poll")
def poll_guard(conn: sa.Connection, poll_id: str) -> Guarded | None:
    session = conn.execute(sa.select(room_polls.c.session).where(room_polls.c.id == poll_id)).scalar()
    return None if session is None else Guarded(session)


def polls(scope: Scope, ref: str, most: int = _SHOWN) -> list[PollView]:
    """The session's polls, those that are open first, the newest of each first."""
    session_id = scope.access.session(ref, "room:join")
    query = sa.select(room_polls).where(room_polls.c.session == session_id)
    newest = query.order_by(room_polls.c.closed_at.is_not(None), room_polls.c.at.desc()).limit(most)
    return [view(scope, row) for row in scope.execute(newest).all()]


def view(scope: Scope, row: sa.Row[Any]) -> PollView:
    """One row as the reader sees it. Votes are counted openly once the poll is closed, or was asked that way."""
    keys = scope.house.keys
    key = keys.domain_in(scope.tx, row.session) if isinstance(scope, Context) else keys.domain(row.session)
    asked = msgspec.json.decode(unseal(key, row.asked_sealed, f"poll:{row.id}"), type=Asked)
    votes = scope.execute(sa.select(room_votes).where(room_votes.c.poll == row.id)).all()
    counts = dict.fromkeys(range(1, row.options + 1), 0)
    for vote in votes:
        counts[vote.option] += 1
    for kept in scope.execute(sa.select(room_poll_counts).where(room_poll_counts.c.poll == row.id)):
        counts[kept.option] = kept.votes
    shown = row.closed_at is not None or not row.shown_at_end
    names = people.people(scope, {vote.voter for vote in votes}) if shown and not row.anonymous else {}
    me = voter(scope, row.id, anonymous=row.anonymous)
    return PollView(
        id=row.id,
        session=row.session,
        question=asked.question,
        options=[
            OptionView(
                number=number,
                text=text,
                votes=counts[number] if shown else None,
                voters=sorted(names[vote.voter].name for vote in votes if vote.option == number) if names else [],
            )
            for number, text in enumerate(asked.options, 1)
        ],
        anonymous=row.anonymous,
        shown_at_end=row.shown_at_end,
        votes=sum(counts.values()),
        mine=next((vote.option for vote in votes if vote.voter == me), None),
        by=people.person(scope, row.by),
        at=iso(row.at),
        closed=None if row.closed_at is None else iso(row.closed_at),
    )


def voter(scope: Scope, poll_id: str, *, anonymous: bool) -> str:
    """Under what a vote of the actor is kept.

    Whoever holds the hub's secret could compute it for a person while the poll is open; afterwards nothing is left.
    """
    if not anonymous:
        return scope.actor.id
    return hmac.digest(scope.house.secret, f"vote:{poll_id}:{scope.actor.id}".encode(), hashlib.sha256).hex()
