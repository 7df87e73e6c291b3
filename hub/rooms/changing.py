"""What can be done to a message that was said: put it otherwise, take it back, answer it with a sign."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.core.keys import seal
from hub.rooms import numbers, rules, views
from hub.rooms.actions import sayable
from hub.rooms.names import Ref
from hub.rooms.tables import message_reactions, messages
from hub.rooms.views import MessageView


class EditMessage(Action, frozen=True, kw_only=True, tag="message_edit"):
    """Put a message of your own in other words; everyone sees that it was edited."""

    message: Ref
    text: str


class RemoveMessage(Action, frozen=True, kw_only=True, tag="message_remove"):
    """Take a message of your own back, or, as a moderator, another's; its place stays and its text is gone."""

    message: Ref


class ReactToMessage(Action, frozen=True, kw_only=True, tag="message_react"):
    """Answer a message with one emoji, or take that back (`on: false`)."""

    message: Ref
    emoji: Annotated[str, Meta(min_length=1, max_length=16)]
    on: bool = True


@handles(EditMessage, needs="room:speak")
def edit_message(act: EditMessage, ctx: Context) -> MessageView:
    """The earlier words are not kept: who reported them has a copy."""
    row, change = _locked(ctx, ctx.access.find("message", act.message, "room:speak"))
    if row.author != ctx.actor.id:
        raise NotAllowed("only its author edits a message")
    _refuse_removed(row)
    text = sayable(act.text)
    if views.message(ctx, row).text == text:
        return _unchanged(ctx, row, change)
    sealed = seal(ctx.house.keys.domain_in(ctx.tx, row.session), text.encode(), views.about(row.session, row.sequence))
    digest = hashlib.sha256(sealed).hexdigest()
    return _changed(ctx, row, change, {"text_sealed": sealed, "edited_at": ctx.now}, sealed_sha256=digest)


@handles(RemoveMessage, needs="room:join")
def remove_message(act: RemoveMessage, ctx: Context) -> MessageView:
    """Its author may always, even who may only look on by now."""
    row, change = _locked(ctx, ctx.access.find("message", act.message, "room:join"))
    if row.author != ctx.actor.id:
        ctx.access.find("message", row.id, "room:moderate")
    return _wiped(ctx, row, change)


@handles(ReactToMessage, needs="room:speak")
def react_to_message(act: ReactToMessage, ctx: Context) -> MessageView:
    """One person and one emoji are one reaction, however often it is said."""
    row, change = _locked(ctx, ctx.access.find("message", act.message, "room:speak"))
    _refuse_removed(row)
    if not rules.is_sign(act.emoji):
        raise InvalidInput("a reaction is one emoji", path="$.params.emoji", hint="words go into a reply: `thread`")
    reactions = message_reactions.c
    of_message = reactions.message == row.id
    mine = of_message & (reactions.emoji == act.emoji) & (reactions.person == ctx.actor.id)
    there = ctx.execute(sa.select(reactions.person).where(mine)).first() is not None
    if there == act.on:
        return _unchanged(ctx, row, change)
    if act.on:
        used = set(ctx.execute(sa.select(reactions.emoji).where(of_message).distinct()).scalars())
        if act.emoji not in used and len(used) >= limits.MESSAGE_SIGNS:
            text = f"a message has at most {limits.MESSAGE_SIGNS} different reactions"
            raise Conflict(text, code="too_many_reactions", path="$.params.emoji", hint="use one that is there already")
        ctx.tx.insert(message_reactions, message=row.id, emoji=act.emoji, person=ctx.actor.id, at=ctx.now)
    else:
        ctx.execute(sa.delete(message_reactions).where(mine))
    return _changed(ctx, row, change, {}, on=act.on)


def wipe(ctx: Context, message_id: str) -> MessageView:
    """Leave of a message that it was there, and who took it away. The caller checked the right."""
    return _wiped(ctx, *_locked(ctx, message_id))


def _wiped(ctx: Context, row: sa.Row[Any], change: int) -> MessageView:
    if row.removed_at is not None:
        return _unchanged(ctx, row, change)
    empty = seal(ctx.house.keys.domain_in(ctx.tx, row.session), b"", views.about(row.session, row.sequence))
    ctx.execute(sa.delete(message_reactions).where(message_reactions.c.message == row.id))
    return _changed(ctx, row, change, {"text_sealed": empty, "removed_at": ctx.now, "removed_by": ctx.actor.id})


def _locked(ctx: Context, message_id: str) -> tuple[sa.Row[Any], int]:
    """The message as nobody else can change it now, and the number its change will have."""
    change = numbers.take(ctx, views.row(ctx, message_id).session)
    return views.row(ctx, message_id), change


def _refuse_removed(row: sa.Row[Any]) -> None:
    if row.removed_at is not None:
        raise Conflict("that message was removed", code="message_removed", path="$.params.message")


def _changed(ctx: Context, row: sa.Row[Any], change: int, values: dict[str, Any], **facts: Any) -> MessageView:
    now = ctx.execute(
        sa.update(messages).where(messages.c.id == row.id).values(change=change, **values).returning(*messages.c)
    ).one()
    ctx.about("message", row.id, row.session, sequence=change, of=row.sequence, **facts)
    return numbers.tell(ctx, now)


def _unchanged(ctx: Context, row: sa.Row[Any], change: int) -> MessageView:
    numbers.give_back(ctx, row.session, change)
    ctx.about("message", row.id, row.session, sequence=row.change, of=row.sequence, repeated=True)
    return views.message(ctx, row)
