"""What can be said in a room: to everyone, in a thread, about a thing, or to one person alone."""

from __future__ import annotations

import hashlib
from typing import Annotated

import sqlalchemy as sa
from msgspec import Meta

from hub.core import credentials, limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.core.features import offers
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.rooms import numbers, rules, views
from hub.rooms.names import Ref
from hub.rooms.tables import messages
from hub.rooms.views import MessageView
from hub.sessions import grants
from hub.sessions import views as sessions

# What it takes to look at a thing that a message is about.
_READS = {"artifact": "artifact:read", "entry": "entry:read", "job": "job:read", "draft": "room:join"}


class SayInRoom(Action, frozen=True, kw_only=True, tag="room_message"):
    """Say something in a session's room; it is kept with the session.

    `thread` names the message it answers, `about` a thing of the session (`artifact:REF`, `entry:REF`, `draft:REF`,
    `job:REF`, or a line of a job's log, `job:REF#L12`), `to` the one person who is to read it.
    """

    session_id: Ref | None = None
    text: str
    client_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    thread: Ref | None = None
    about: Ref | None = None
    to: Ref | None = None


@handles(SayInRoom, needs="room:speak")
def say_in_room(act: SayInRoom, ctx: Context) -> MessageView:
    """Number the message under the room's row lock; the same `client_id` again is answered with the first one."""
    session_id = ctx.access.session(act.session_id, "room:speak")
    text = sayable(act.text)
    recipient = None if act.to is None else _recipient(ctx, session_id, act.to)
    thread = None if act.thread is None else _thread(ctx, session_id, act.thread)
    about = None if act.about is None else _about(ctx, session_id, act.about)
    if thread is not None:
        if thread.recipient is not None:
            # Whoever of the two answers in a private thread writes to the other.
            recipient = thread.author if thread.recipient == ctx.actor.id else thread.recipient
        elif recipient is not None:
            raise InvalidInput("a thread of the room is read by everyone in it", path="$.params.to")
    sequence = numbers.take(ctx, session_id)
    if act.client_id is not None and (earlier := _earlier(ctx, session_id, act.client_id)) is not None:
        numbers.give_back(ctx, session_id, sequence)
        return _repeated(ctx, earlier, text, recipient)
    message_id = new_id("msg")
    key = ctx.house.keys.domain_in(ctx.tx, session_id)
    sealed = seal(key, text.encode(), views.about(session_id, sequence))
    row = ctx.execute(
        sa.insert(messages)
        .values(
            session=session_id,
            sequence=sequence,
            change=sequence,
            id=message_id,
            author=ctx.actor.id,
            author_name=ctx.actor.name,
            client_id=act.client_id or message_id,
            text_sealed=sealed,
            at=ctx.now,
            recipient=recipient,
            thread=None if thread is None else thread.id,
            about=None if about is None else str(about),
        )
        .returning(*messages.c)
    ).one()
    # The digest is of the sealed bytes: that of a short text would tell whoever guesses it what was said in private.
    ctx.about("message", message_id, session_id, sequence=sequence, sealed_sha256=hashlib.sha256(sealed).hexdigest())
    return numbers.tell(ctx, row)


def sayable(text: str) -> str:
    """The text as it is kept. Raises InvalidInput when it says nothing, too much, or what nobody may know."""
    text = rules.clean_text(text)
    if not rules.is_sayable(text, limits.MESSAGE_CHARACTERS):
        raise InvalidInput(f"a message has 1 to {limits.MESSAGE_CHARACTERS} characters", path="$.params.text")
    credentials.refuse(text, "$.params.text")
    return text


def _recipient(ctx: Context, session_id: str, ref: str) -> str:
    """The person a private message is for: somebody who belongs to the session and can answer."""
    if ctx.actor.kind != "person":
        raise NotAllowed("who comes by a link writes to the whole room; sign in to write to one person")
    if not offers(sessions.features(ctx.conn, {session_id})[session_id], "private_messages"):
        raise NotAllowed("private messages are switched off in this session", code="not_offered")
    found = grants.participant(ctx, session_id, ref, "$.params.to")
    if found == ctx.actor.id:
        raise InvalidInput("a private message is for somebody else", path="$.params.to")
    return found


def _thread(ctx: Context, session_id: str, ref: str) -> sa.Row[tuple[object, ...]]:
    """The first message of the thread that `ref` is in."""
    row = views.row(ctx, ctx.access.find("message", ref, "room:speak"))
    if row.session != session_id:
        raise InvalidInput("that message was said in another session", path="$.params.thread")
    return row if row.thread is None else views.row(ctx, row.thread)


def _about(ctx: Context, session_id: str, text: str) -> rules.Place:
    """The thing a message is about, by its id."""
    place = rules.place(text)
    if place is None:
        raise InvalidInput(
            f"{text[:100]!r} names no thing of a session",
            path="$.params.about",
            hint="artifact:REF, entry:REF, draft:REF, job:REF, or a line of a job's log: job:REF#L12",
        )
    found = ctx.access.find(place.kind, place.ref, _READS[place.kind])
    if ctx.access.session_of(place.kind, found) != session_id:
        raise InvalidInput("that belongs to another session", path="$.params.about")
    return rules.Place(place.kind, found, place.line)


def _earlier(ctx: Context, session_id: str, client_id: str) -> sa.Row[tuple[object, ...]] | None:
    return ctx.execute(
        sa.select(messages).where(
            messages.c.session == session_id,
            messages.c.author == ctx.actor.id,
            messages.c.client_id == client_id,
        )
    ).first()


def _repeated(ctx: Context, row: sa.Row[tuple[object, ...]], text: str, recipient: str | None) -> MessageView:
    view = views.message(ctx, row)
    untouched = view.edited is None and view.removed is None
    if (untouched and view.text != text) or row.recipient != recipient:
        raise Conflict(
            "another message of yours has this client_id", code="client_id_reused", path="$.params.client_id"
        )
    ctx.about("message", view.id, view.session, sequence=view.sequence, repeated=True)
    return view
