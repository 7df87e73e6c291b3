"""What can be done in a room that lasts: say something."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.people.views import PersonView
from hub.rooms import rules, views
from hub.rooms.tables import messages, rooms
from hub.rooms.views import MessageView


class SayInRoom(Action, frozen=True, kw_only=True, tag="room_message"):
    """Say something in a session's room; it is kept with the session."""

    session_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    text: str
    client_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


@handles(SayInRoom, needs="room:speak")
def say_in_room(act: SayInRoom, ctx: Context) -> MessageView:
    """Number the message under the room's row lock; the same `client_id` again is answered with the first one."""
    session_id = ctx.access.session(act.session_id, "room:speak")
    text = rules.clean_text(act.text)
    if not rules.is_sayable(text, limits.MESSAGE_CHARACTERS):
        raise InvalidInput(f"a message has 1 to {limits.MESSAGE_CHARACTERS} characters", path="$.params.text")
    ctx.tx.insert_new(rooms, session=session_id, head=0)
    # The row is locked from here on, also against the same message from another tab.
    sequence = ctx.execute(
        sa.update(rooms).where(rooms.c.session == session_id).values(head=rooms.c.head + 1).returning(rooms.c.head)
    ).scalar_one()
    if act.client_id is not None and (earlier := _earlier(ctx, session_id, act.client_id)) is not None:
        ctx.execute(sa.update(rooms).where(rooms.c.session == session_id).values(head=sequence - 1))
        return _repeated(ctx, earlier, text)
    message_id = new_id("msg")
    key = ctx.house.keys.domain_in(ctx.tx, session_id)
    ctx.execute(
        sa.insert(messages).values(
            session=session_id,
            sequence=sequence,
            id=message_id,
            author=ctx.actor.id,
            author_name=ctx.actor.name,
            client_id=act.client_id or message_id,
            text_sealed=seal(key, text.encode(), views.about(session_id, sequence)),
            at=ctx.now,
        )
    )
    ctx.about("message", message_id, session_id, sequence=sequence, sha256=hashlib.sha256(text.encode()).hexdigest())
    view = MessageView(
        id=message_id,
        session=session_id,
        sequence=sequence,
        author=PersonView(ctx.actor.id, ctx.actor.handle, ctx.actor.name),
        text=text,
        at=iso(ctx.now),
        client_id=act.client_id or message_id,
    )
    ctx.publish(f"session:{session_id}", {"kind": "message", "message": msgspec.to_builtins(view)})
    return view


def _earlier(ctx: Context, session_id: str, client_id: str) -> sa.Row[tuple[object, ...]] | None:
    return ctx.execute(
        sa.select(messages).where(
            messages.c.session == session_id,
            messages.c.author == ctx.actor.id,
            messages.c.client_id == client_id,
        )
    ).first()


def _repeated(ctx: Context, row: sa.Row[tuple[object, ...]], text: str) -> MessageView:
    view = views.message(ctx, row)
    if view.text != text:
        raise Conflict(
            "another message of yours has this client_id", code="client_id_reused", path="$.params.client_id"
        )
    ctx.about("message", view.id, view.session, sequence=view.sequence, repeated=True)
    return view
