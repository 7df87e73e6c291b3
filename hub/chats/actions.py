"""What can be done about chats: connect a workspace, set a channel, say when to be told, have messages forgotten.

A channel shows the cards of the session it belongs to, and commands written in it mean that session. So it is set by
who may share the session it is to show, and taken from a session only by who may share that one too (or an operator);
and it is set from within the channel, because the hub cannot ask the platform who belongs there.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.chats import installations
from hub.chats.rules import Cards, Notify, Place, Platform, same_channel
from hub.chats.tables import chat_cards, chat_channels, chat_preferences
from hub.core import limits, relaunch
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import NotAllowed, NotFound
from hub.sessions.names import full_name
from hub.sessions.tables import sessions

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.!@-]+$")]
Token = Annotated[str, Meta(min_length=8, max_length=limits.CHAT_TOKEN_CHARACTERS, pattern=r"^[!-~]+$")]


class InstallChat(Action, frozen=True, tag="chat_install"):
    """Connect a workspace of a chat platform by its tokens; again, to replace them."""

    platform: Platform
    bot_token: Token
    signing_secret: Token
    app_token: Token | None = None
    workspace: Id | None = None
    name: Annotated[str, Meta(max_length=200)] = ""
    bot_user: Annotated[str, Meta(max_length=64)] = ""
    secret_fields: ClassVar[tuple[str, ...]] = ("bot_token", "signing_secret", "app_token")


class InstalledView(msgspec.Struct, frozen=True):
    """A connected workspace, without its tokens; `workspace` is empty until the platform was asked."""

    platform: str
    workspace: str
    name: str


@handles(InstallChat, needs="chat:install")
def install_chat(act: InstallChat, ctx: Context) -> InstalledView:
    """Seal the tokens; the bot begins to serve the workspace within moments."""
    ctx.access.hub("chat:install")
    tokens = installations.Tokens(bot_token=act.bot_token, signing_secret=act.signing_secret, app_token=act.app_token)
    installations.keep(ctx, act.platform, act.workspace or "", act.name, act.bot_user, tokens)
    ctx.about("chat_installation", f"{act.platform}:{act.workspace or ''}")
    ctx.after_commit(lambda: relaunch.ask(ctx.settings))  # `collegium up` starts the bot with the first workspace
    return InstalledView(act.platform, act.workspace or "", act.name)


class UninstallChat(Action, frozen=True, tag="chat_uninstall"):
    """Disconnect a workspace: its tokens are erased, its channels stay known."""

    platform: Platform
    workspace: Annotated[str, Meta(max_length=64)] = ""


@handles(UninstallChat, needs="chat:install")
def uninstall_chat(act: UninstallChat, ctx: Context) -> InstalledView:
    """The row goes, and the tokens with it."""
    ctx.access.hub("chat:install")
    name = installations.drop(ctx, act.platform, act.workspace)
    ctx.about("chat_installation", f"{act.platform}:{act.workspace}")
    ctx.after_commit(lambda: relaunch.ask(ctx.settings))
    return InstalledView(act.platform, act.workspace, name)


class SetChannel(Action, frozen=True, tag="channel_set"):
    """Say which session a channel belongs to (null: none), and which cards it shows: full, ends, digest, off."""

    platform: Platform
    workspace: Id
    channel: Id
    session_id: Annotated[str, Meta(min_length=1, max_length=200)] | msgspec.UnsetType | None = msgspec.UNSET
    cards: Cards | None = None


class ChannelSet(msgspec.Struct, frozen=True):
    """What a channel is set to now."""

    channel: str
    session: str | None
    cards: str


@handles(SetChannel, needs="session:share")
def set_channel(act: SetChannel, ctx: Context) -> ChannelSet:
    """The session it had, and the one it gets, are both asked whether they may be shared."""
    place = Place(act.platform, act.workspace, act.channel)
    key = (
        chat_channels.c.platform == act.platform,
        chat_channels.c.workspace == act.workspace,
        chat_channels.c.channel == act.channel,
    )
    before = ctx.execute(sa.select(chat_channels).where(*key).with_for_update()).first()
    had = None if before is None or not _is_there(ctx, before.session) else before.session
    _refuse_strangers(ctx, place, had)
    session = had
    if act.session_id is not msgspec.UNSET:
        session = None if act.session_id is None else ctx.access.session(act.session_id, "session:share")
    if session is None and had is None:
        # It shows nobody's cards but those of what is submitted in it: one's right over one's own session is enough.
        ctx.access.session(None, "session:share")
    cards = act.cards or (before.cards if before is not None else "full")
    values = {"session": session, "cards": cards, "set_by": ctx.actor.id, "set_at": ctx.now}
    if not ctx.tx.insert_new(
        chat_channels, platform=act.platform, workspace=act.workspace, channel=act.channel, **values
    ):
        ctx.execute(sa.update(chat_channels).where(*key).values(**values))
    ctx.about("chat_channel", str(place)[:64], session, had=had, cards=cards)
    return ChannelSet(str(place), None if session is None else full_name(ctx, session), cards)


def _refuse_strangers(ctx: Context, place: Place, had: str | None) -> None:
    """Raises NotAllowed unless the actor may share what the channel shows, and speaks from within it."""
    is_operator = ctx.actor.hub_role == "operator"
    shares_it = had is not None and ctx.access.may(had, "session:share")
    if had is not None and not (shares_it or is_operator):
        raise NotAllowed(
            "this channel belongs to a session that you may not share, so you may not change it",
            code="channel_of_another_session",
            hint="ask one of that session's administrators",
        )
    if not (same_channel(ctx.actor.came_by, place) or shares_it or is_operator):
        raise NotAllowed(
            "a channel is given to a session from within it",
            code="not_in_channel",
            hint="write `channel use SESSION` in the channel itself",
        )
    if had is not None:
        ctx.access.checked.add("session:share")


def _is_there(ctx: Context, session: str | None) -> bool:
    return ctx.execute(sa.select(sessions.c.id).where(sessions.c.id == session)).first() is not None


class SetNotify(Action, frozen=True, tag="notify_set"):
    """Say when a chat mentions you: all, ends, failures, none; null: failures, and successes after five minutes."""

    notify: Notify | None


class NotifyView(msgspec.Struct, frozen=True):
    """When chats mention you; null: failures, and successes after five minutes of running."""

    notify: str | None


@handles(SetNotify, needs="notify:set")
def set_notify(act: SetNotify, ctx: Context) -> NotifyView:
    """One row a person; none means the default."""
    ctx.access.hub("notify:set")
    ctx.execute(sa.delete(chat_preferences).where(chat_preferences.c.person == ctx.actor.id))
    if act.notify is not None:
        ctx.execute(sa.insert(chat_preferences).values(person=ctx.actor.id, notify=act.notify))
    ctx.about("person", ctx.actor.id, notify=act.notify)
    return NotifyView(act.notify)


class ForgetMessages(Action, frozen=True, tag="chat_forget"):
    """Have the messages that chats were sent about an object (a job, an entry, a link) deleted there."""

    object: Annotated[str, Meta(min_length=1, max_length=64)]


class ForgetView(msgspec.Struct, frozen=True):
    """How many cards are going to be deleted by the bot."""

    object: str
    cards: int


@handles(ForgetMessages, needs="session:share")
def forget_messages(act: ForgetMessages, ctx: Context) -> ForgetView:
    """The request is the state of the card's row: the bot deletes what it posted, and says so in the same row."""
    rows = ctx.execute(sa.select(chat_cards).where(chat_cards.c.object == act.object)).all()
    sessions_of = {row.session for row in rows if row.session is not None}
    if not sessions_of:
        raise NotFound("no message was posted about that", code="card_not_found", path="$.params.object")
    for session in sessions_of:
        ctx.access.session(session, "session:share")
        ctx.about("chat_cards", act.object, session)
    wanted = ctx.execute(
        sa.update(chat_cards)
        .where(chat_cards.c.object == act.object, chat_cards.c.state != "forgotten")
        .values(state="forgetting", settled_at=None)
    )
    return ForgetView(act.object, wanted.rowcount)
