"""What a channel is set to, and when people want to be mentioned: read by the bot, and by people for themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.chats import rules
from hub.chats.tables import chat_channels, chat_preferences
from hub.core.context import Scope
from hub.people.tables import chat_identities
from hub.sessions.names import full_name, room_url
from hub.sessions.tables import sessions


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel: the session it belongs to, which cards it shows, how much of them may leave the hub."""

    channel: str
    session: str | None = None  # its full name
    session_id: str | None = None
    cards: str = "full"
    chat_detail: str = "full"


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """A channel as somebody in it may see it; `hidden` when it belongs to a session they may not know."""

    channel: str
    session: str | None
    cards: str
    chat_detail: str | None
    hidden: bool = False


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody as a card may mention them: by their linked account in that workspace, if they have one."""

    person: str
    notify: str | None
    users: list[str]


class SessionFace(msgspec.Struct, frozen=True, kw_only=True):
    """What a card needs of a session: its name, its room, how much of it may leave, and who shows its cards."""

    id: str
    name: str
    url: str
    chat_detail: str
    channels: list[Channel]


class NotifyView(msgspec.Struct, frozen=True):
    """When chats mention you; null: failures, and successes after five minutes of running."""

    notify: str | None


def channel(scope: Scope, place: rules.Place) -> Channel:
    """What a channel is set to; what nobody set is `full` and belongs to no session."""
    row = scope.execute(
        sa.select(chat_channels).where(
            chat_channels.c.platform == place.platform,
            chat_channels.c.workspace == place.workspace,
            chat_channels.c.channel == place.channel,
        )
    ).first()
    if row is None:
        return Channel(channel=str(place))
    return _channel(scope, row)


def _channel(scope: Scope, row: sa.Row[Any]) -> Channel:
    shown = scope.execute(sa.select(sessions).where(sessions.c.id == row.session)).first()
    name = f"{row.platform}:{row.workspace}:{row.channel}"
    if shown is None:
        return Channel(channel=name, cards=row.cards)
    return Channel(
        channel=name,
        session=full_name(scope, shown.id),
        session_id=shown.id,
        cards=row.cards,
        chat_detail=shown.chat_detail,
    )


def seen_by_a_person(scope: Scope, text: str) -> ChannelView:
    """A channel for somebody in it; the name of a session they may not see stays out."""
    scope.access.hub("notify:set")
    one = channel(scope, rules.place(text, "channel"))
    if one.session_id is not None and not scope.access.may(one.session_id, "session:read"):
        return ChannelView(channel=one.channel, session=None, cards=one.cards, chat_detail=None, hidden=True)
    return ChannelView(channel=one.channel, session=one.session, cards=one.cards, chat_detail=one.chat_detail)


def my_notify(scope: Scope) -> NotifyView:
    """When the actor wants to be mentioned."""
    scope.access.hub("notify:set")
    return NotifyView(
        scope.execute(sa.select(chat_preferences.c.notify).where(chat_preferences.c.person == scope.actor.id)).scalar()
    )


def person(scope: Scope, person_id: str, platform: str, workspace: str) -> Person:
    """How somebody may be mentioned in a workspace."""
    users = scope.execute(
        sa.select(chat_identities.c.user).where(
            chat_identities.c.person == person_id,
            chat_identities.c.platform == platform,
            chat_identities.c.workspace == workspace,
        )
    ).scalars()
    notify = scope.execute(sa.select(chat_preferences.c.notify).where(chat_preferences.c.person == person_id)).scalar()
    return Person(person=person_id, notify=notify, users=list(users))


def session_faces(scope: Scope, ids: set[str]) -> list[SessionFace]:
    """Sessions by id, with the channels that show their cards; those that are no more are left out."""
    found = []
    for row in scope.execute(sa.select(sessions).where(sessions.c.id.in_(ids))).all():
        shown_in = scope.execute(sa.select(chat_channels).where(chat_channels.c.session == row.id)).all()
        found.append(
            SessionFace(
                id=row.id,
                name=full_name(scope, row.id),
                url=room_url(scope, row.id),
                chat_detail=row.chat_detail,
                channels=[_channel(scope, each) for each in shown_in],
            )
        )
    return found
