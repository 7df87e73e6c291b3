"""Asking the room something, choosing, and counting."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import credentials, limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.rooms import rules
from hub.rooms.names import Ref
from hub.rooms.polls import views
from hub.rooms.polls.tables import room_poll_counts, room_polls, room_votes
from hub.rooms.polls.views import Asked, PollView

Text = Annotated[str, Meta(max_length=limits.POLL_CHARACTERS)]


class AskPoll(Action, frozen=True, kw_only=True, tag="room_poll"):
    """Ask the people in a session's room to choose between two to eight answers; whoever may present may ask.

    Nobody sees who chose what in an `anonymous` one; with `shown_at_end` nobody sees how many either before it closes.
    """

    session_id: Ref | None = None
    question: Text
    options: Annotated[tuple[Text, ...], Meta(min_length=2, max_length=8)]
    anonymous: bool = True
    shown_at_end: bool = True


class Vote(Action, frozen=True, kw_only=True, tag="room_vote"):
    """Choose an answer of an open poll by its number; choosing another one takes the first back."""

    poll: Ref
    option: Annotated[int, Meta(ge=1, le=8)]


class ClosePoll(Action, frozen=True, kw_only=True, tag="room_poll_close"):
    """End a poll that you asked, or any where you moderate, and show what was chosen."""

    poll: Ref


@handles(AskPoll, needs="room:ask")
def ask_poll(act: AskPoll, ctx: Context) -> PollView:
    """What is asked stays as it is: who has voted has voted about this.

    Who does not moderate has one open at a time, so that nobody's question is pushed out of sight by theirs.
    """
    session_id = ctx.access.session(act.session_id, "room:ask")
    question = rules.clean_text(act.question)
    options = tuple(rules.clean_text(option) for option in act.options)
    if not question:
        raise InvalidInput("a poll asks something", path="$.params.question")
    if not all(options) or len(set(options)) < len(options):
        raise InvalidInput("two to eight answers, each another and none empty", path="$.params.options")
    for text in (question, *options):
        credentials.refuse(text, "$.params.question" if text == question else "$.params.options")
    ctx.tx.alone(f"polls:{session_id}")
    _refuse_too_many(ctx, session_id)
    poll = new_id("poll")
    key = ctx.house.keys.domain_in(ctx.tx, session_id)
    ctx.tx.insert(
        room_polls,
        id=poll,
        session=session_id,
        asked_sealed=seal(key, msgspec.json.encode(Asked(question, options)), f"poll:{poll}"),
        options=len(options),
        anonymous=act.anonymous,
        shown_at_end=act.shown_at_end,
        by=ctx.actor.id,
        at=ctx.now,
        closed_at=None,
    )
    ctx.about("poll", poll, session_id, options=len(options))
    return views.view(ctx, _row(ctx, poll))


@handles(Vote, needs="room:join")
def vote(act: Vote, ctx: Context) -> PollView:
    """One vote a person, counted under the poll's lock; the ledger's line of it belongs to no session."""
    poll = ctx.access.find("poll", act.poll, "room:join")
    if ctx.actor.kind != "person":
        raise NotAllowed("who comes by a link is somebody new at each visit, and has no vote; sign in to vote")
    ctx.tx.alone(f"poll:{poll}")
    row = _row(ctx, poll)
    if row.closed_at is not None:
        raise Conflict("this poll is closed", code="poll_closed", path="$.params.poll")
    if act.option > row.options:
        raise InvalidInput(f"this poll has the answers 1 to {row.options}", path="$.params.option")
    who = views.voter(ctx, poll, anonymous=row.anonymous)
    if not ctx.tx.insert_new(room_votes, poll=poll, voter=who, option=act.option):
        mine = (room_votes.c.poll == poll) & (room_votes.c.voter == who)
        ctx.execute(sa.update(room_votes).where(mine).values(option=act.option))
    # That somebody voted is for them to know. A count that is shown has moved for everyone, a hidden one for the others
    # only at the end: three hundred votes must not make three hundred pages ask three hundred times.
    ctx.about("poll", poll, None)
    kind = {"kind": "for_moderators", "what": "poll"} if row.shown_at_end else {"kind": "poll"}
    ctx.publish(f"session:{row.session}", kind)
    return views.view(ctx, row)


@handles(ClosePoll, needs="room:ask")
def close_poll(act: ClosePoll, ctx: Context) -> PollView:
    """Of an anonymous one only the counts stay."""
    poll = ctx.access.find("poll", act.poll, "room:ask")
    ctx.tx.alone(f"poll:{poll}")
    row = _row(ctx, poll)
    if row.by != ctx.actor.id and not ctx.access.may(row.session, "room:moderate"):
        raise NotAllowed("whoever asked it ends a poll, or whoever moderates the room", path="$.params.poll")
    if row.closed_at is None:
        ctx.execute(sa.update(room_polls).where(room_polls.c.id == poll).values(closed_at=ctx.now))
        if row.anonymous:
            counted = ctx.execute(
                sa.select(room_votes.c.option, sa.func.count().label("votes"))
                .where(room_votes.c.poll == poll)
                .group_by(room_votes.c.option)
            ).all()
            for each in counted:
                ctx.tx.insert(room_poll_counts, poll=poll, option=each.option, votes=each.votes)
            ctx.execute(sa.delete(room_votes).where(room_votes.c.poll == poll))
    ctx.about("poll", poll, row.session)
    return views.view(ctx, _row(ctx, poll))


def _refuse_too_many(ctx: Context, session_id: str) -> None:
    """Raises Conflict when one more open poll would be more than the room, or the actor in it, may have."""
    is_open = (room_polls.c.session == session_id) & room_polls.c.closed_at.is_(None)
    askers = ctx.execute(sa.select(room_polls.c.by).where(is_open)).scalars().all()
    if ctx.actor.id in askers and not ctx.access.may(session_id, "room:moderate"):
        raise Conflict("a poll of yours is open still", code="poll_open", hint="close it before you ask another")
    if len(askers) >= limits.POLLS_OPEN:
        raise Conflict(
            f"{limits.POLLS_OPEN} polls are open in this room, which is the most at once",
            code="too_many_polls",
            hint="whoever asked one closes it, or whoever moderates",
        )


def _row(ctx: Context, poll: str) -> sa.Row[Any]:
    return ctx.execute(sa.select(room_polls).where(room_polls.c.id == poll)).one()
